/*! channelstream-browser 1.0.0 | MIT OR Apache-2.0 | made from src/ by "npm run build" in tests/browser | contains @noble/hashes 2.2.0, MIT, Copyright (c) 2022 Paul Miller, see LICENSE-noble-hashes */

// src/emitter.js
function callPage(callback, ...args) {
  try {
    callback(...args);
  } catch (error) {
    if (typeof globalThis.reportError === "function") {
      globalThis.reportError(error);
    } else {
      setTimeout(() => {
        throw error;
      }, 0);
    }
  }
}
var Emitter = class {
  /** @param {readonly string[]} events the names of the events */
  constructor(events) {
    this._listeners = new Map(events.map((event) => [event, /* @__PURE__ */ new Map()]));
  }
  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   * @returns {() => void} removes the listener
   */
  on(event, listener) {
    this._listenersOf(event).set(listener, false);
    return () => this.off(event, listener);
  }
  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   * @returns {() => void} removes the listener
   */
  once(event, listener) {
    this._listenersOf(event).set(listener, true);
    return () => this.off(event, listener);
  }
  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   */
  off(event, listener) {
    this._listenersOf(event).delete(listener);
  }
  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {Events[E]} detail
   */
  _emit(event, detail) {
    for (const [listener, once] of [...this._listenersOf(event)]) {
      if (once) {
        this.off(event, listener);
      }
      callPage(listener, detail);
    }
  }
  /** @param {PropertyKey} event */
  _listenersOf(event) {
    const listeners = this._listeners.get(String(event));
    if (!listeners) {
      const names = [...this._listeners.keys()].join(", ");
      throw new TypeError(`there is no event ${JSON.stringify(event)}; the events are ${names}`);
    }
    return listeners;
  }
};

// src/errors.js
var ChannelStreamError = class _ChannelStreamError extends Error {
  /**
   * @param {import('../index.js').ErrorCode} code
   * @param {string} operation the call that failed
   * @param {string} message a text for developers
   * @param {{status?: number, data?: any}} [answer]
   */
  constructor(code, operation, message, { status = 0, data } = {}) {
    super(`${operation}: ${message}`);
    this.name = "ChannelStreamError";
    this.code = code;
    this.operation = operation;
    this.status = status;
    this.data = data;
  }
  /**
   * The error for a refusal, or for a missing response.
   *
   * @param {string} operation
   * @param {import('./request.js').ChannelStreamRequest} request
   * @param {any} data
   */
  static of(operation, { request, timedOut }, data) {
    const status = request?.status ?? 0;
    if (status) {
      return new _ChannelStreamError("refused", operation, `status ${status}`, { status, data });
    }
    return timedOut ? new _ChannelStreamError("timeout", operation, "no response in time") : new _ChannelStreamError("network", operation, "no response");
  }
};
function isFinal(status) {
  return status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}
function quiet(promise) {
  promise.catch(() => {
  });
  return promise;
}

// src/history.js
var SEEN_LIMIT = 1e3;
var History = class {
  /** @param {number} limit how many messages to keep */
  constructor(limit) {
    this.limit = limit;
    this.messages = [];
    this.seen = /* @__PURE__ */ new Set();
    this.hasForgotten = false;
  }
  /**
   * Takes over the server's history. It is complete from its first message on: later messages that it does not
   * contain were deleted. Messages older than its first one stay.
   *
   * @param {StoredMessage[]} stored oldest first
   * @returns {StoredMessage[]} the messages that were not seen before
   */
  load(stored) {
    const ids = new Set(stored.map(({ uuid }) => uuid));
    const firstSeen = stored.findIndex(({ uuid }) => this.seen.has(uuid));
    const missed = stored.filter(({ uuid }, at) => !this.seen.has(uuid) && !(this.hasForgotten && at < firstSeen));
    stored.forEach(({ uuid }) => this.remember(uuid));
    const common = this.messages.findIndex(({ uuid }) => ids.has(uuid));
    const older = common < 0 ? this.messages : this.messages.slice(0, common);
    this.messages = [...older, ...stored];
    this.cut();
    return missed;
  }
  /** @param {string} uuid */
  remember(uuid) {
    this.seen.add(uuid);
    if (this.seen.size > Math.max(SEEN_LIMIT, this.limit)) {
      this.seen.delete(
        /** @type {string} */
        this.seen.values().next().value
      );
      this.hasForgotten = true;
    }
  }
  /** @param {any} frame */
  apply(frame) {
    const at = this.messages.findIndex(({ uuid }) => uuid === frame.uuid);
    if (frame.type === "message") {
      this.remember(frame.uuid);
      this.put(at, frame);
    } else if (frame.type === "message:edit" && at >= 0) {
      const { type, catchup, offset, ...changes } = frame;
      this.put(at, { ...this.messages[at], ...changes });
    } else if (frame.type === "message:delete" && at >= 0) {
      this.messages = this.messages.filter((_, index) => index !== at);
    }
  }
  /**
   * @param {number} at negative for the end
   * @param {StoredMessage} message
   */
  put(at, message) {
    this.messages = at < 0 ? [...this.messages, message] : this.messages.map((m, i) => i === at ? message : m);
    this.cut();
  }
  cut() {
    if (this.messages.length > this.limit) {
      this.messages = this.messages.slice(this.messages.length - this.limit);
    }
  }
};

// src/untrusted.js
var listOf = (value) => Array.isArray(value) ? value : [];
function objectsOf(value) {
  return listOf(value).filter((item) => item !== null && typeof item === "object");
}
function ownValue(object, name) {
  const isObject = object !== null && typeof object === "object";
  return isObject && Object.prototype.hasOwnProperty.call(object, name) ? object[name] : void 0;
}
function fromJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return void 0;
  }
}

// src/presence.js
var Presence = class {
  constructor() {
    this.states = /* @__PURE__ */ new Map();
  }
  /** @returns {User[]} sorted by name */
  get members() {
    const names = [...this.states.keys()].sort();
    return names.map((user) => ({ user, state: this.states.get(user) ?? {} }));
  }
  /**
   * Replaces the whole list.
   *
   * @param {User[]} users
   * @returns {PresenceChange}
   */
  replace(users) {
    const before = this.states;
    this.states = new Map(users.map(({ user, state }) => [user, state ?? {}]));
    const joined = users.filter(({ user }) => !before.has(user));
    const left = [...before].filter(([user]) => !this.states.has(user)).map(([user, state]) => ({ user, state }));
    const restated = users.some(({ user, state }) => before.has(user) && !sameState(before.get(user), state));
    return { joined, left, changed: joined.length + left.length > 0 || restated };
  }
  /**
   * @param {any} frame
   * @returns {?PresenceChange} null if the frame is not about members
   */
  apply(frame) {
    if (frame.type === "presence") {
      return this.applyPresence(frame);
    }
    if (frame.type === "user_state_change" && this.states.has(frame.user)) {
      const state = frame.message?.state ?? {};
      const changed = !sameState(this.states.get(frame.user), state);
      this.states.set(frame.user, state);
      return { joined: [], left: [], changed };
    }
    return null;
  }
  /** @param {import('../index.js').PresenceFrame} frame */
  applyPresence({ user, users, state, message }) {
    const listed = objectsOf(users);
    if (listed.length > 0) {
      return this.replace(listed);
    }
    const others = this.members.filter((member) => member.user !== user);
    return this.replace(message?.action === "parted" ? others : [...others, { user, state: state ?? {} }]);
  }
};
function sameState(one, other) {
  const [before, now] = [one ?? {}, other ?? {}];
  const keys = Object.keys(before);
  return keys.length === Object.keys(now).length && keys.every((key) => before[key] === now[key]);
}

// src/channel.js
var FRAME_TYPES = ["message", "message:edit", "message:delete", "presence", "user_state_change"];
var EVENTS = ["state", "frame", ...FRAME_TYPES, "join", "leave", "members", "history", "gap", "error"];
var MESSAGE_LIMIT = 100;
var ChannelStreamChannel = class extends Emitter {
  /**
   * @param {string} name
   * @param {import('./connection.js').ChannelStreamConnection} connection
   * @param {import('./subscriptions.js').Subscriptions} subscriptions
   */
  constructor(name, connection, subscriptions) {
    super(EVENTS);
    this.name = name;
    this.connection = connection;
    this.state = "unsubscribed";
    this.info = null;
    this._subscriptions = subscriptions;
    this._presence = new Presence();
    this._history = new History(MESSAGE_LIMIT);
    this._introduced = false;
    this._missed = /* @__PURE__ */ new Set();
    this._records = /* @__PURE__ */ new Set();
  }
  get members() {
    return this._presence.members;
  }
  get messages() {
    return this._history.messages;
  }
  get messageLimit() {
    return this._history.limit;
  }
  set messageLimit(limit) {
    this._history.limit = limit;
    this._history.cut();
  }
  /** Joins the channel, and joins it again whenever the connection receives a new id. */
  subscribe() {
    return quiet(this._subscriptions.subscribe(this.name));
  }
  unsubscribe() {
    return quiet(this._subscriptions.unsubscribe(this.name));
  }
  /**
   * @param {any} message
   * @param {Record<string, any>} [more]
   */
  publish(message, more = {}) {
    return this.connection.message({ channel: this.name, user: this.connection.username, message, ...more });
  }
  /**
   * @param {string} uuid
   * @param {any} message
   * @param {Record<string, any>} [more]
   */
  edit(uuid, message, more = {}) {
    return this.connection.edit({ channel: this.name, uuid, message, ...more });
  }
  /**
   * @param {string} uuid
   * @param {Record<string, any>} [more]
   */
  delete(uuid, more = {}) {
    return this.connection.delete({ channel: this.name, uuid, ...more });
  }
  /** Loads members and messages from the application's `infoUrl`. */
  refresh() {
    return quiet(this.connection.info([this.name]).then(() => {
    }));
  }
  /** @param {SubscriptionState} state */
  _setState(state) {
    const previous = this.state;
    if (state === previous) {
      return;
    }
    this.state = state;
    if (state === "unsubscribed") {
      this._forgetMembers();
    }
    this._emit("state", { state, previous });
  }
  /** Drops the members. They are unknown until the server reports them again. */
  _forgetMembers() {
    this._presence.replace([]);
    this._introduced = false;
  }
  /**
   * Records the frames that arrive until `_take` is called with the record. The response to a request in flight may
   * be older than these frames.
   */
  _record() {
    const record = [];
    this._records.add(record);
    return record;
  }
  /**
   * Takes over the server's information about the channel.
   *
   * @param {ChannelInfo | undefined} info undefined if the response contains none
   * @param {User[]} users of this and other channels
   * @param {any[]} [since] the record made when the request was sent
   */
  _take(info, users, since = []) {
    this._records.delete(since);
    if (info === null || typeof info !== "object") {
      return;
    }
    this.info = info;
    if (Array.isArray(info.users) && info.users.length > 0) {
      const present = new Set(info.users);
      this._takeMembers(users.filter(({ user }) => present.has(user)), since);
    }
    if (Array.isArray(info.history)) {
      const missed = this._history.load(objectsOf(info.history));
      since.forEach((frame) => this._history.apply(frame));
      this._missed = new Set(missed.map(({ uuid }) => uuid));
      this._emit("history", { messages: this.messages, missed });
    }
  }
  /**
   * @param {User[]} users
   * @param {any[]} since
   */
  _takeMembers(users, since) {
    const reported = new Presence();
    reported.replace(users);
    since.forEach((frame) => reported.apply(frame));
    const change = this._presence.replace(reported.members);
    this._emitMembers(this._introduced ? change : { ...change, joined: [], left: [] });
    this._introduced = true;
  }
  /** @param {any} frame */
  _receive(frame) {
    this._records.forEach((record) => record.push(frame));
    this._history.apply(frame);
    this._emit("frame", frame);
    const isReported = frame.type === "message" && this._missed.delete(frame.uuid);
    if (FRAME_TYPES.includes(frame.type) && !isReported) {
      this._emit(frame.type, frame);
    }
    const change = this._presence.apply(frame);
    if (change) {
      this._emitMembers(change);
    }
  }
  /** @param {import('./presence.js').PresenceChange} change */
  _emitMembers({ joined, left, changed }) {
    left.forEach((user) => this._emit("leave", user));
    joined.forEach((user) => this._emit("join", user));
    if (changed) {
      this._emit("members", this.members);
    }
  }
};

// src/fetch.js
var FetchRequest = class {
  constructor() {
    this.readyState = 0;
    this.status = 0;
    this.statusText = "";
    this.responseText = "";
    this.responseURL = "";
    this.timeout = 0;
    this.onreadystatechange = null;
    this._verb = "GET";
    this._url = "";
    this._sent = [];
    this._received = [];
    this._timer = void 0;
    this._ended = false;
    this._control = typeof AbortController === "function" ? new AbortController() : null;
  }
  /**
   * @param {string} verb
   * @param {string} url relative to the page or worker, if there is one
   */
  open(verb, url) {
    this._verb = verb;
    this._url = url;
    this._change(1);
  }
  /**
   * @param {string} name
   * @param {string} value
   */
  setRequestHeader(name, value) {
    this._sent.push([name, value]);
  }
  /** @param {string | null} text */
  send(text) {
    if (this.timeout > 0) {
      this._timer = setTimeout(() => {
        this._control?.abort();
        this._end(null);
      }, this.timeout);
    }
    this._ask(text).then((body) => this._end(body), () => this._end(null));
  }
  /** Ends the request. No change of its state is reported afterwards. */
  abort() {
    this._ended = true;
    clearTimeout(this._timer);
    this._control?.abort();
    this.status = 0;
  }
  /** @returns {string} one line for each readable header of the response */
  getAllResponseHeaders() {
    return this._received.map(([name, value]) => `${name}: ${value}\r
`).join("");
  }
  /**
   * @param {string} name
   * @returns {?string}
   */
  getResponseHeader(name) {
    const found = this._received.filter(([received]) => received === String(name).toLowerCase());
    return found.length > 0 ? found.map(([, value]) => value).join(", ") : null;
  }
  /**
   * @param {string | null} text
   * @returns {Promise<string>} the body of the response
   */
  async _ask(text) {
    const hasBody = text !== null && !["GET", "HEAD"].includes(this._verb);
    const answer = await globalThis.fetch(this._url, {
      method: this._verb,
      headers: this._sent,
      body: hasBody ? text : void 0,
      signal: this._control?.signal
    });
    if (!this._ended) {
      this.status = answer.status;
      this.statusText = answer.statusText;
      this.responseURL = answer.url;
      this._received = [...answer.headers];
      this._change(2);
    }
    return answer.text();
  }
  /** @param {?string} body null if no complete response arrived */
  _end(body) {
    if (this._ended) {
      return;
    }
    this._ended = true;
    clearTimeout(this._timer);
    this.responseText = body ?? "";
    if (body === null) {
      this.status = 0;
      this.statusText = "";
      this._received = [];
    }
    this._change(4);
  }
  /** @param {number} readyState */
  _change(readyState) {
    this.readyState = readyState;
    callPage(() => this.onreadystatechange?.());
  }
};
function newRequest() {
  try {
    return new globalThis.XMLHttpRequest();
  } catch {
    return (
      /** @type {any} */
      new FetchRequest()
    );
  }
}

// src/request.js
var REQUEST_TIMEOUT_MS = 12e4;
var LAST_SUCCESS = 400;
function withParameter(url, name, value) {
  const wellFormed = String(value).replace(/\p{Surrogate}/gu, "�");
  const address = String(url);
  return `${address}${address.includes("?") ? "&" : "?"}${name}=${encodeURIComponent(wellFormed)}`;
}
var ChannelStreamRequest = class {
  constructor() {
    this.headers = [];
    this.body = null;
    this.url = "";
    this.timeoutMs = REQUEST_TIMEOUT_MS;
    this.request = null;
    this.timedOut = false;
  }
  /**
   * Called when a response with a status of at most 400 has arrived.
   *
   * @param {XMLHttpRequest} request
   * @param {any} data the body, parsed if it is JSON
   */
  handleResponse(request, data) {
  }
  /**
   * Called with any other status, and with status 0 when there was no response.
   *
   * @param {XMLHttpRequest} request
   * @param {any} data the body, parsed if it is JSON
   */
  handleError(request, data) {
  }
  /**
   * Called while the request is in flight.
   *
   * @param {XMLHttpRequest} request
   */
  handleRequest(request) {
  }
  /**
   * Sends the request.
   *
   * @param {string} [verb] by default POST with a body and GET without a body
   */
  execute(verb) {
    const request = newRequest();
    const dueAt = Date.now() + this.timeoutMs;
    this.request = request;
    request.onreadystatechange = () => {
      this.timedOut = request.status === 0 && Date.now() >= dueAt;
      this.handleStateChange();
    };
    request.open(verb || (this.body ? "POST" : "GET"), this.url);
    request.timeout = this.timeoutMs;
    if (this.body) {
      request.setRequestHeader("Content-Type", "application/json");
    }
    for (const { name, value } of this.headers) {
      request.setRequestHeader(name, value);
    }
    request.send(this.body ? JSON.stringify(this.body) : null);
  }
  /**
   * Reports a request that could not be sent in the same way as a request without a response.
   *
   * @param {unknown} error
   */
  fail(error) {
    this.abort();
    this.request ??= newRequest();
    this.handleError(this.request, String(error));
  }
  /** Ends the request. None of its handlers is called afterwards. */
  abort() {
    if (this.request) {
      this.request.onreadystatechange = null;
      this.request.abort();
    }
  }
  handleStateChange() {
    const request = (
      /** @type {XMLHttpRequest} */
      this.request
    );
    if (request.readyState !== 4) {
      this.handleRequest(request);
      return;
    }
    const parsed = fromJson(request.responseText);
    const data = parsed === void 0 ? request.responseText : parsed;
    if (request.status && request.status <= LAST_SUCCESS) {
      this.handleResponse(request, data);
    } else {
      this.handleError(request, data);
    }
  }
};

// src/call.js
function prepare(connection, { url, body, timeoutMs }) {
  const request = new ChannelStreamRequest();
  request.url = url;
  request.body = body;
  request.timeoutMs = timeoutMs ?? connection.requestTimeoutMs;
  return request;
}
function mutate(connection, kind, request) {
  for (const mutator of connection.mutators[kind] ?? []) {
    mutator(request);
  }
}
function execute(request, verb) {
  try {
    request.execute(verb);
  } catch (error) {
    request.fail(error);
  }
}
function send(connection, call) {
  const { kind, verb = "POST", callback, take, fail, unless } = call;
  const request = prepare(connection, call);
  const invoke = (ending, ...args) => callback && connection._invoke(
    /** @type {any} */
    callback + ending,
    ...args
  );
  return quiet(new Promise((resolve, reject) => {
    const refuse = (data) => {
      const error = ChannelStreamError.of(kind, request, data);
      reject(error);
      connection._emit("error", error);
    };
    request.handleResponse = (answer, data) => {
      if (answer.status < 400) {
        take?.(data);
        invoke("Callback", answer, data);
        resolve(data);
      } else {
        fail?.();
        invoke("Callback", answer, data);
        refuse(data);
      }
    };
    request.handleError = (answer, data) => {
      fail?.();
      invoke("ErrorCallback", answer, data);
      refuse(data);
    };
    try {
      mutate(connection, kind, request);
    } catch (error) {
      callPage(() => {
        throw error;
      });
      request.fail(error);
      return;
    }
    if (unless?.(request)) {
      fail?.();
      resolve(void 0);
    } else {
      execute(request, verb);
    }
  }));
}

// src/callbacks.js
var ChannelStreamCallbacks = class extends Emitter {
  /** @type {boolean} whether to print all events to the console */
  debug = false;
  /** @type {?import('../index.js').Logger} receives internal events */
  logger = null;
  /** connect() succeeded; listening starts after this. */
  connectCallback(request, data) {
    this._trace("connectCallback", request, data);
  }
  /** connect() failed. The library tries it again. */
  connectErrorCallback(request, data) {
    this._trace("connectErrorCallback", request, data);
  }
  /** The response to disconnect() has arrived. */
  disconnectCallback(request, data) {
    this._trace("disconnectCallback", request, data);
  }
  /** disconnect() failed. The server removes the connection after its grace time. */
  disconnectErrorCallback(request, data) {
    this._trace("disconnectErrorCallback", request, data);
  }
  /** subscribe() succeeded. */
  subscribeCallback(request, data) {
    this._trace("subscribeCallback", request, data);
  }
  /** subscribe() failed. */
  subscribeErrorCallback(request, data) {
    this._trace("subscribeErrorCallback", request, data);
  }
  /** unsubscribe() succeeded. */
  unsubscribeCallback(request, data) {
    this._trace("unsubscribeCallback", request, data);
  }
  /** unsubscribe() failed. */
  unsubscribeErrorCallback(request, data) {
    this._trace("unsubscribeErrorCallback", request, data);
  }
  /** message() succeeded. */
  messageCallback(request, data) {
    this._trace("messageCallback", request, data);
  }
  /** message() failed. */
  messageErrorCallback(request, data) {
    this._trace("messageErrorCallback", request, data);
  }
  /** edit() succeeded. */
  messageEditCallback(request, data) {
    this._trace("messageEditCallback", request, data);
  }
  /** edit() failed. */
  messageEditErrorCallback(request, data) {
    this._trace("messageEditErrorCallback", request, data);
  }
  /** delete() succeeded. */
  messageDeleteCallback(request, data) {
    this._trace("messageDeleteCallback", request, data);
  }
  /** delete() failed. */
  messageDeleteErrorCallback(request, data) {
    this._trace("messageDeleteErrorCallback", request, data);
  }
  /** updateUserState() succeeded. */
  setUserStateCallback(request, data) {
    this._trace("setUserStateCallback", request, data);
  }
  /** updateUserState() failed. */
  setUserStateErrorCallback(request, data) {
    this._trace("setUserStateErrorCallback", request, data);
  }
  /** `channels` has changed. */
  channelsChangedCallback(channels) {
    this._trace("channelsChangedCallback", channels);
  }
  /** Called just before listening starts, with the response to connect(). */
  beforeListeningCallback(request, data) {
    this._trace("beforeListeningCallback", request, data);
  }
  /** Listening has started. Also called after each reconnect. */
  listenOpenedCallback(request, data) {
    this._trace("listenOpenedCallback", request, data);
  }
  /**
   * Messages have arrived.
   *
   * @param {object[]} messages at least one; heartbeats are not reported
   */
  listenMessageCallback(messages) {
    this._trace("listenMessageCallback", messages);
  }
  /** A websocket or a poll failed. The library resumes listening. */
  listenErrorCallback(request, data) {
    this._trace("listenErrorCallback", request, data);
  }
  /** The websocket has closed. The library opens it again, unless another socket took over its connection id. */
  listenCloseCallback(request, data) {
    this._trace("listenCloseCallback", request, data);
  }
  /** closeConnection() or disconnect() has ended listening. */
  connectionClosedCallback() {
    this._trace("connectionClosedCallback");
  }
  /**
   * Calls a callback. An exception that it throws does not affect the caller.
   *
   * @param {keyof import('../index.js').ConnectionCallbacks} name
   * @param {...any} args
   */
  _invoke(name, ...args) {
    callPage(() => (
      /** @type {any} */
      this[name](...args)
    ));
  }
  /**
   * @param {string} name
   * @param {...any} details
   */
  _trace(name, ...details) {
    if (this.debug) {
      console.log(name, ...details);
    }
  }
  /**
   * @param {string} event
   * @param {Record<string, unknown>} details
   */
  _log(event, details) {
    if (this.logger) {
      this.logger(event, details);
    } else if (this.debug) {
      console.log("channelstream", event, details);
    }
  }
};

// src/backoff.js
var TIMER_LIMIT_MS = 2 ** 31 - 1;
var FALLBACK_MS = 6e4;
function boundOf(ms) {
  const number = Number(ms ?? NaN);
  return Number.isNaN(number) ? FALLBACK_MS : Math.min(Math.max(number, 0), TIMER_LIMIT_MS);
}
var Backoff = class {
  /**
   * @param {object} [options]
   * @param {() => number} [options.random] from 0 to below 1
   */
  constructor({ random = Math.random } = {}) {
    this.random = random;
    this.failures = 0;
  }
  /**
   * The wait after one more failure.
   *
   * @param {number} baseMs the bound after the first failure
   * @param {number} capMs the bound never grows beyond this
   * @returns {number} milliseconds
   */
  next(baseMs, capMs) {
    const boundMs = Math.min(boundOf(capMs), boundOf(baseMs) * 2 ** this.failures);
    this.failures += 1;
    return this.random() * boundMs;
  }
  /** Must be called when the other side is known to work, not when it has only accepted a connection. */
  reset() {
    this.failures = 0;
  }
};

// src/subscriptions.js
var SPREAD_MS = 5e3;
var Subscriptions = class {
  /** @param {import('./connection.js').ChannelStreamConnection} connection */
  constructor(connection) {
    this.connection = connection;
    this.channels = /* @__PURE__ */ new Map();
    this.wanted = /* @__PURE__ */ new Set();
    this.left = /* @__PURE__ */ new Set();
    this.requested = /* @__PURE__ */ new Set();
    this.waiting = /* @__PURE__ */ new Map();
    this.backoff = new Backoff();
    this.timer = void 0;
    this.isKnown = true;
    this.stale = /* @__PURE__ */ new Set();
    this.reloading = void 0;
  }
  /** @param {string} name */
  channel(name) {
    let channel = this.channels.get(name);
    if (!channel) {
      channel = new ChannelStreamChannel(name, this.connection, this);
      this.channels.set(name, channel);
      this.update();
    }
    return channel;
  }
  /**
   * @param {string} name
   * @returns {boolean}
   */
  isJoined(name) {
    const { connection } = this;
    return connection._hasId && listOf(connection.channels).includes(name) && !this.left.has(name);
  }
  /** @returns {string[]} the channels to request with a new connection id */
  forConnect() {
    const all = /* @__PURE__ */ new Set([...listOf(this.connection.channels), ...this.wanted]);
    this.left.forEach((name) => all.delete(name));
    return [...all];
  }
  /**
   * @param {string} name
   * @returns {Promise<void>}
   */
  subscribe(name) {
    this.wanted.add(name);
    this.left.delete(name);
    this.update();
    if (this.isJoined(name)) {
      return Promise.resolve();
    }
    const { promise } = this.waiting.get(name) ?? this.wait(name);
    queueMicrotask(() => this.flush());
    return promise;
  }
  /** @param {string} name */
  wait(name) {
    const waiter = {};
    waiter.promise = new Promise((resolve, reject) => Object.assign(waiter, { resolve, reject }));
    this.waiting.set(name, waiter);
    return waiter;
  }
  /**
   * @param {string} name
   * @returns {Promise<void>}
   */
  unsubscribe(name) {
    const joined = this.isJoined(name);
    this.leave([name]);
    return joined ? this.connection.unsubscribe([name]).then(() => {
    }) : Promise.resolve();
  }
  /**
   * Records that the page has left these channels.
   *
   * @param {string[]} names
   */
  leave(names) {
    names.forEach((name) => {
      this.wanted.delete(name);
      this.left.add(name);
      this.settle(name, new ChannelStreamError("closed", "subscribe", "left before it was joined"));
    });
    this.update();
  }
  /** Requests the wanted channels that are not joined. Without a connection id, connect() requests them. */
  flush() {
    clearTimeout(this.timer);
    const names = [...this.wanted].filter((name) => !this.isJoined(name) && !this.requested.has(name));
    if (!this.connection._hasId || !this.isKnown || names.length === 0) {
      return;
    }
    if (this.connection.subscribeUrl) {
      this.request(names);
      return;
    }
    const error = () => new ChannelStreamError("closed", "subscribe", "there is no subscribeUrl");
    names.forEach((name) => this.refuse(name, error()));
  }
  /**
   * Records that a request to join these channels is sent.
   *
   * @param {string[]} names
   * @returns {(joined: string[]) => void} to be called with the channels that the server then reports
   */
  begin(names) {
    names.forEach((name) => {
      this.requested.add(name);
      this.left.delete(name);
    });
    return (joined) => {
      names.forEach((name) => this.requested.delete(name));
      names.filter((name) => joined.includes(name) && !this.left.has(name)).forEach((name) => this.wanted.add(name));
      this.update();
    };
  }
  /** @param {string[]} names */
  request(names) {
    const id = this.connection.connectionId;
    const isOld = () => !this.connection._hasId || this.connection.connectionId !== id;
    this.connection.subscribe(names).then(() => {
      if (!isOld()) {
        this.onAnswer(names);
      }
    }, (error) => {
      if (!isOld()) {
        this.onFailure(names, error);
      }
    });
  }
  /** @param {string[]} names */
  onAnswer(names) {
    this.backoff.reset();
    for (const name of names.filter((each) => this.wanted.has(each) && !this.isJoined(each))) {
      this.refuse(name, new ChannelStreamError("answer", "subscribe", `${name} was not joined`));
    }
    const late = names.filter((name) => this.left.has(name) && this.connection.channels.includes(name));
    if (late.length > 0) {
      this.connection.unsubscribe(late);
    }
  }
  /**
   * @param {string[]} names
   * @param {ChannelStreamError} error
   */
  onFailure(names, error) {
    if (!isFinal(error.status)) {
      const { increaseBounceIv, maxReconnectDelayMs } = this.connection;
      this.timer = setTimeout(() => this.flush(), this.backoff.next(increaseBounceIv, maxReconnectDelayMs));
    } else if (names.length > 1) {
      names.filter((name) => this.wanted.has(name)).forEach((name) => this.request([name]));
    } else {
      this.refuse(names[0], error);
    }
  }
  /**
   * @param {string} name
   * @param {ChannelStreamError} error
   */
  refuse(name, error) {
    this.wanted.delete(name);
    this.settle(name, error);
    this.update();
    this.channels.get(name)?._emit("error", error);
  }
  /**
   * @param {string} name
   * @param {ChannelStreamError} [error]
   */
  settle(name, error) {
    const waiter = this.waiting.get(name);
    this.waiting.delete(name);
    if (error) {
      waiter?.reject(error);
    } else {
      waiter?.resolve();
    }
  }
  /** Updates the states after the server's list has changed, or the connection has received or lost its id. */
  update() {
    for (const [name, channel] of this.channels) {
      const pending = this.wanted.has(name) ? "subscribing" : "unsubscribed";
      channel._setState(this.isJoined(name) ? "subscribed" : pending);
    }
    [...this.waiting.keys()].filter((name) => this.isJoined(name)).forEach((name) => this.settle(name));
  }
  /**
   * Takes over the server's list of the channels that the connection is in.
   *
   * @param {string[]} before
   * @param {string[]} now
   */
  confirm(before, now) {
    const is = new Set(now);
    before.filter((name) => !is.has(name) && !this.requested.has(name)).forEach((name) => this.wanted.delete(name));
    [...this.left].filter((name) => !is.has(name)).forEach((name) => this.left.delete(name));
    this.update();
  }
  /** Handles a new connection id: members are loaded again, and channels missing from connect() are requested. */
  renew() {
    this.channels.forEach((channel) => channel._forgetMembers());
    this.requested.clear();
    this.left.clear();
    this.update();
    queueMicrotask(() => this.flush());
  }
  /** Rejects what is pending, because the page has ended the connection. */
  close() {
    clearTimeout(this.timer);
    clearTimeout(this.reloading);
    this.stale.clear();
    this.requested.clear();
    const error = () => new ChannelStreamError("closed", "subscribe", "the connection was closed");
    [...this.waiting.keys()].forEach((name) => this.settle(name, error()));
    this.update();
  }
  /**
   * Passes the information in a response to the channels.
   *
   * @param {any} info a `channels_info`
   * @param {Map<string, any[]>} [records] frames that arrived since the request
   */
  take(info, records) {
    const users = objectsOf(info?.users);
    for (const [name, channel] of this.channels) {
      channel._take(ownValue(info?.channels, name), users, records?.get(name));
    }
  }
  /**
   * Reports that messages of a channel were lost, and loads its history.
   *
   * @param {import('../index.js').RecoveredEvent & {channel: string}} loss
   * @param {boolean} reload whether no other answer contains the history
   */
  lose({ channel: name, reason, gap }, reload) {
    this.channels.get(name)?._emit("gap", { reason, gap });
    if (!reload) {
      return;
    }
    this.stale.add(name);
    clearTimeout(this.reloading);
    this.reloading = setTimeout(() => {
      this.refresh([...this.stale]);
      this.stale.clear();
    }, reason === "restart" ? Math.random() * SPREAD_MS : 0);
  }
  /**
   * Requests members and history of channels from the application, if there is an `infoUrl`.
   *
   * @param {Iterable<string>} [among] by default all channels
   */
  refresh(among = this.channels.keys()) {
    const names = [...among].filter((name) => this.channels.has(name) && this.isJoined(name));
    if (this.connection.infoUrl && names.length > 0) {
      this.connection.info(names);
    }
  }
  /** Must be called when a request is sent whose response goes to `take`. */
  record() {
    return new Map([...this.channels].map(([name, channel]) => [name, channel._record()]));
  }
  /** @param {any} frame */
  receive(frame) {
    if (!this.left.has(frame?.channel)) {
      this.channels.get(frame?.channel)?._receive(frame);
    }
  }
};

// src/backend.js
var EVENTS2 = ["state", "connect", "open", "close", "retry", "recovered", "channels", "error", "frame", ...FRAME_TYPES];
var ChannelStreamBackend = class extends ChannelStreamCallbacks {
  /** @type {string[]} the channels that connect() requests; afterwards those that the server has confirmed */
  channels = [];
  /** @type {string} sent with connect() */
  username = "Anonymous";
  /** @type {?string} issued by the server */
  connectionId = null;
  /** @type {string} address at which connect() requests a connection id */
  connectUrl = "";
  /** @type {string} address of subscribe() */
  subscribeUrl = "";
  /** @type {string} address of unsubscribe() */
  unsubscribeUrl = "";
  /** @type {string} address of updateUserState() */
  userStateUrl = "";
  /** @type {string} address of message() */
  messageUrl = "";
  /** @type {string} address of edit() */
  messageEditUrl = "";
  /** @type {string} address of delete() */
  messageDeleteUrl = "";
  /** @type {string} address of info() */
  infoUrl = "";
  /** @type {number} how long to wait for a response, in milliseconds */
  requestTimeoutMs = REQUEST_TIMEOUT_MS;
  /**
   * Functions that may change requests before they are sent; see addMutator().
   *
   * @type {Record<RequestKind, import('../index.js').Mutator[]>}
   */
  mutators = {
    connect: [],
    message: [],
    messageEdit: [],
    messageDelete: [],
    subscribe: [],
    unsubscribe: [],
    disconnect: [],
    userState: [],
    info: []
  };
  /** Whether `connectionId` belongs to the latest connect(), as far as the library knows. */
  _hasId = false;
  _subscriptions = new Subscriptions(
    /** @type {any} */
    this
  );
  constructor() {
    super(EVENTS2);
  }
  /**
   * Adds a function that receives each request of a kind before it is sent and may change its `url`, `body` and
   * `headers`. Mutators run in the order in which they were added.
   *
   * @param {RequestKind} type a key of `mutators`
   * @param {import('../index.js').Mutator} func
   */
  addMutator(type, func) {
    this.mutators[type].push(func);
  }
  /**
   * Changes the user's state, by POST to `userStateUrl`.
   *
   * @param {object} stateObj
   */
  updateUserState(stateObj) {
    return send(this, {
      kind: "userState",
      url: this.userStateUrl,
      body: { username: this.username, conn_id: this.connectionId, update_state: stateObj },
      callback: "setUserState"
    });
  }
  /**
   * Joins channels, by POST to `subscribeUrl`. Sends nothing if the list is empty. When the connection receives a new
   * id, the library joins the channels again.
   *
   * @param {string[]} channels
   */
  subscribe(channels) {
    const end = this._subscriptions.begin(channels ?? []);
    return this._sendAboutChannels({
      kind: "subscribe",
      url: this.subscribeUrl,
      body: { channels, conn_id: this.connectionId },
      callback: "subscribe",
      unless: ({ body }) => !body.channels?.length,
      take: (data) => {
        this._setChannels(data?.channels ?? [.../* @__PURE__ */ new Set([...listOf(this.channels), ...channels])]);
        end(this.channels);
      },
      fail: () => end([])
    });
  }
  /**
   * Leaves channels, by POST to `unsubscribeUrl`.
   *
   * @param {string[]} channels
   */
  unsubscribe(channels) {
    this._subscriptions.leave(channels ?? []);
    return this._sendAboutChannels({
      kind: "unsubscribe",
      url: this.unsubscribeUrl,
      body: { channels, conn_id: this.connectionId },
      callback: "unsubscribe",
      take: (data) => this._setChannels(data?.channels ?? listOf(this.channels).filter((name) => !(channels ?? []).includes(name)))
    });
  }
  /**
   * Returns the channel of this name, always the same object.
   *
   * @param {string} name
   * @returns {any} typed in index.d.ts
   */
  channel(name) {
    return this._subscriptions.channel(name);
  }
  /**
   * @param {string[]} channels
   * @returns {string[]} the channels that are not joined yet
   */
  calculateSubscribe(channels) {
    return channels.filter((channel) => !this.channels.includes(channel));
  }
  /**
   * @param {string[]} [channels]
   * @returns {string[]} the channels that are joined
   */
  calculateUnsubscribe(channels) {
    return (channels || []).filter((channel) => this.channels.includes(channel));
  }
  /**
   * Sends a message, by POST to `messageUrl`.
   *
   * @param {object|object[]} message
   */
  message(message) {
    return send(this, { kind: "message", url: this.messageUrl, body: message, callback: "message" });
  }
  /**
   * Changes a message that was sent, by PATCH to `messageEditUrl`.
   *
   * @param {object|object[]} message with its `uuid`
   */
  edit(message) {
    const url = this.messageEditUrl;
    return send(this, { kind: "messageEdit", url, verb: "PATCH", body: message, callback: "messageEdit" });
  }
  /**
   * Deletes a message, by DELETE to `messageDeleteUrl`.
   *
   * @param {object|object[]} message with its `uuid`
   */
  delete(message) {
    const url = this.messageDeleteUrl;
    return send(this, { kind: "messageDelete", url, verb: "DELETE", body: message, callback: "messageDelete" });
  }
  /**
   * Requests members and messages of the channels, by POST to `infoUrl`.
   *
   * @param {string[]} [channels] by default the joined ones
   */
  info(channels = this.channels) {
    const answer = this._sendAboutChannels({
      kind: "info",
      url: this.infoUrl,
      body: { channels, conn_id: this.connectionId }
    });
    return quiet(answer.then((data) => data?.channels_info ?? data));
  }
  /**
   * Sends a call whose response contains channels. A response for an earlier connection id is ignored.
   *
   * @param {import('./call.js').Call} call
   */
  _sendAboutChannels({ take, fail, ...call }) {
    const id = this.connectionId;
    const records = this._subscriptions.record();
    return send(this, {
      ...call,
      take: (data) => {
        const present = id === this.connectionId;
        if (present) {
          take?.(data);
        }
        const info = call.kind === "info" ? data?.channels_info ?? data : data?.channels_info;
        this._subscriptions.take(present ? info : void 0, records);
      },
      fail: () => {
        this._subscriptions.take(void 0, records);
        fail?.();
      }
    });
  }
  /**
   * Takes over the response to connect().
   *
   * @param {import('../index.js').ConnectReply} data
   * @returns {?string} the previous connection id
   */
  _takeId(data) {
    const previousId = this.connectionId;
    const before = listOf(this.channels);
    const hasChannels = Array.isArray(data.channels);
    this.connectionId = data.conn_id;
    this._hasId = true;
    this.channels = data.channels && hasChannels ? data.channels : before;
    this._subscriptions.renew();
    this._subscriptions.take(data.channels_info);
    if (hasChannels) {
      this._invoke("channelsChangedCallback", this.channels);
      this._emitChannels(before);
    }
    return previousId;
  }
  /**
   * Takes over the channels of a connection that the server has made from a token.
   *
   * @param {?string[]} all null if the server has not named all of them
   * @param {string[]} added
   */
  _takeChannels(all, added) {
    const before = listOf(this.channels);
    const now = [.../* @__PURE__ */ new Set([...all ?? before, ...added])];
    const isFirst = all !== null && !this._subscriptions.isKnown;
    if (isFirst) {
      this.channels = before.filter((name) => now.includes(name));
    }
    if (isFirst || now.join() !== before.join()) {
      this._setChannels(now);
    }
    if (isFirst) {
      this._subscriptions.isKnown = true;
      this._subscriptions.flush();
      this._subscriptions.refresh();
    }
  }
  /** @param {any} channels the value from a response */
  _setChannels(channels) {
    if (!Array.isArray(channels)) {
      return;
    }
    const before = listOf(this.channels);
    this.channels = channels;
    this._subscriptions.confirm(before, channels);
    this._invoke("channelsChangedCallback", channels);
    this._emitChannels(before);
  }
  /** @param {string[]} before */
  _emitChannels(before) {
    const { channels } = this;
    const added = channels.filter((name) => !before.includes(name));
    const removed = before.filter((name) => !channels.includes(name));
    if (added.length + removed.length > 0) {
      this._emit("channels", { channels, added, removed });
    }
  }
};

// src/choice.js
function sibling(url, name) {
  const pattern = /\/(listen|sse)(?=[?#]|$)/;
  return pattern.test(url) ? String(url).replace(pattern, `/${name}`) : "";
}
var TransportChoice = class {
  /** @param {import('./listening.js').Settings} settings */
  constructor(settings) {
    this.settings = settings;
    this.distrusted = /* @__PURE__ */ new Set();
    this.pinned = false;
  }
  get sseUrl() {
    return this.settings.sseUrl || sibling(this.settings.longPollUrl, "sse");
  }
  /** @returns {TransportName[]} the transports that the page allows and the browser has, the preferred one first */
  get usable() {
    const { websocketUrl, noWebsocket, resume: resume2, longPollUrl, transports } = this.settings;
    const usable = {
      websocket: websocketUrl && !noWebsocket && globalThis.WebSocket,
      // Frames in flight are lost whenever a stream ends, so it needs positions.
      sse: resume2 && !noWebsocket && this.sseUrl && globalThis.EventSource,
      longpoll: longPollUrl
    };
    return listOf(transports).filter((name) => usable[name]);
  }
  /** @returns {TransportName} */
  get preferred() {
    const { usable } = this;
    const works = usable.find((name) => !this.distrusted.has(name));
    return this.pinned ? "longpoll" : works ?? usable[0] ?? "longpoll";
  }
  /**
   * @param {TransportName} name
   * @returns {TransportName | undefined} the next transport that may work
   */
  other(name) {
    const { usable } = this;
    const at = usable.indexOf(name) + 1;
    return [...usable.slice(at), ...usable].find((each) => each !== name && !this.distrusted.has(each));
  }
  /**
   * @param {?TransportName} name
   * @returns {boolean} whether the websocket is preferred to this transport
   */
  prefersSocketTo(name) {
    const { usable } = this;
    const better = usable.slice(0, usable.indexOf(
      /** @type {any} */
      name
    ));
    return better.includes("websocket") && !this.pinned;
  }
};

// src/positions.js
var POSITIONS_BYTES = 2048;
var ELEMENTS = ["attached", "subscribed", "cursor", "token"];
var PRIVATE = "";
function answersOf({ type, channel, offset, streams, private: own, ...answer }) {
  return type === "subscribed" ? [[channel, { ...answer, from: offset }]] : [...Object.entries(streams ?? {}), ...own ? [
    /** @type {[string, any]} */
    [PRIVATE, own]
  ] : []];
}
var isReply = (element) => element?.type === "attached" || element?.type === "cursor";
function reportsLoss(list) {
  const replies = listOf(list).filter(isReply);
  return replies.length > 0 ? replies.flatMap(answersOf).some(([, { recovered }]) => recovered === false) : void 0;
}
var isIdle = (list) => listOf(list).every((item) => item?.type === "cursor");
var Positions = class {
  constructor() {
    this.clear();
  }
  clear() {
    this.streams = /* @__PURE__ */ new Map();
    this.cursor = null;
    this.uncovered = false;
    this.returning = false;
    this.named = false;
  }
  /**
   * Takes over the cursor of an event.
   *
   * @param {string} cursor empty if there is none yet
   */
  note(cursor) {
    if (cursor) {
      this.cursor = cursor;
    }
  }
  /**
   * @param {string} url
   * @param {boolean} first whether a transport starts, and does not just send its next poll
   * @returns {string} the address from which the server continues
   */
  addTo(url, first) {
    const positions = first || this.uncovered ? this.text() : "";
    this.named = this.cursor !== null;
    this.returning ||= first && (this.named || positions !== "");
    const address = this.cursor === null ? url : withParameter(url, "since", this.cursor);
    return positions ? withParameter(address, "positions", positions) : address;
  }
  /** @returns {string} as many positions as fit, the most recently active streams first */
  text() {
    const entries = [];
    let left = POSITIONS_BYTES - withParameter("", "", "{}").length;
    for (const [name, { epoch, offset }] of [...this.streams].reverse()) {
      const entry = `${JSON.stringify(name)}:"${epoch}.${offset}"`;
      left -= withParameter("", "", `${entry},`).length;
      if (left < 0) {
        break;
      }
      entries.push(entry);
    }
    return entries.length > 0 ? `{${entries}}` : "";
  }
  /**
   * @param {any[]} list
   * @param {boolean} polled whether the list answers a poll
   * @returns {Batch}
   */
  take(list, polled) {
    const batch = { frames: [], elements: [], verdicts: [], channels: null };
    const brief = polled && this.named;
    for (const item of list) {
      if (ELEMENTS.includes(item?.type)) {
        batch.elements.push(item);
        batch.verdicts.push(...this.follow(item));
        if (item.type === "attached" && !brief) {
          batch.channels = Object.keys(item.streams ?? {});
        }
      } else if (this.isNew(item)) {
        batch.frames.push(item);
      }
    }
    if (this.returning && batch.elements.some(isReply)) {
      this.returning = false;
      const judged = batch.verdicts.map(({ channel }) => channel ?? PRIVATE);
      [...this.streams.keys()].filter((name) => brief && !judged.includes(name)).forEach((name) => batch.verdicts.push(verdictOf(name, { recovered: true })));
    }
    return batch;
  }
  /**
   * @param {any} element
   * @returns {import('../index.js').RecoveredEvent[]}
   */
  follow(element) {
    if (element.type === "cursor") {
      this.note(element.cursor);
      this.uncovered = false;
    }
    listOf(element.unknown).forEach((name) => this.streams.delete(name));
    const answers = answersOf(element);
    answers.forEach(([name, answer]) => this.place(name, answer));
    return answers.filter(([, { recovered }]) => recovered === false || recovered && this.returning).map(([name, answer]) => verdictOf(name, answer));
  }
  /**
   * @param {string} name
   * @param {{epoch: string, from: number, reason?: string}} answer
   */
  place(name, { epoch, from, reason }) {
    const known = this.streams.get(name);
    if (known && known.epoch === epoch && reason !== "ahead") {
      known.offset = Math.max(known.offset, from);
    } else if (typeof from === "number") {
      this.streams.set(name, { epoch, offset: from });
    }
    if (reason === "epoch") {
      this.cursor = null;
    }
  }
  /**
   * @param {any} frame
   * @returns {boolean} false for a repetition
   */
  isNew(frame) {
    const name = frame?.channel ?? PRIVATE;
    const stream = this.streams.get(name);
    if (!stream || typeof frame?.offset !== "number") {
      return true;
    }
    if (frame.offset <= stream.offset) {
      return false;
    }
    stream.offset = frame.offset;
    this.uncovered = true;
    this.streams.delete(name);
    this.streams.set(name, stream);
    return true;
  }
};
function verdictOf(name, { recovered, reason = null, gap = null }) {
  return { channel: name === PRIVATE ? null : name, recovered, reason, gap };
}

// src/rhythm.js
var PAUSES = 3;
var GAP = 2;
var Rhythm = class {
  constructor() {
    this.longestMs = null;
  }
  /** @param {number} pauseMs between two heartbeats */
  note(pauseMs) {
    if (this.longestMs === null || pauseMs * GAP < this.longestMs) {
      this.longestMs = pauseMs;
    } else if (pauseMs < this.longestMs * GAP) {
      this.longestMs = Math.max(this.longestMs, pauseMs);
    }
  }
  /**
   * The longest silence of a working connection.
   *
   * @param {number} leastMs
   * @returns {?number} null while the interval is unknown
   */
  limitMs(leastMs) {
    return this.longestMs === null ? null : Math.max(leastMs, PAUSES * this.longestMs);
  }
};

// src/websocket.js
var HEARTBEAT_MS = 1e4;
var OPENING_LIMIT_MS = 5e3;
var PROVEN_AFTER_MS = 5e3;
var SETTLED_AFTER_MS = 500;
var SILENCE_MS = 15e3;
var ASLEEP_MS = 2e3;
var DOUBT_MS = 2e3;
var WebSocketListener = class {
  /**
   * @param {string} url
   * @param {WebSocketEvents} events
   * @param {object} [options]
   * @param {boolean} [options.trusted] whether the server knows the id, so that an open socket stays open
   * @param {Rhythm} [options.rhythm] the server's heartbeat interval, as earlier sockets have learnt it
   * @param {?number} [options.silenceMs] the silence that ends the socket; overrides the rhythm
   * @param {string[]} [options.protocols]
   */
  constructor(url, events, { trusted = true, rhythm = new Rhythm(), silenceMs = null, protocols = [] } = {}) {
    this.url = url;
    this.events = events;
    this.trusted = trusted;
    this.rhythm = rhythm;
    this.silenceMs = silenceMs;
    this.protocols = protocols;
    this.socket = null;
    this.opened = false;
    this.announced = false;
    this.receivedFrame = false;
    this.hasCursor = false;
    this.finished = false;
    this.timers = {};
    this.lastHeartbeatAt = null;
    this.lastFrameAt = Date.now();
    this.heartbeatsWanted = () => false;
  }
  open() {
    try {
      this.socket = new WebSocket(this.url, this.protocols);
    } catch (error) {
      this.timers.opening = setTimeout(() => this.end(error, 1006), 0);
      return;
    }
    this.timers.opening = setTimeout(() => this.end({ type: "timeout" }, 1006, "opening took too long"), OPENING_LIMIT_MS);
    this.socket.onopen = (event) => this.onOpen(event);
    this.socket.onmessage = (event) => this.onMessage(event);
    this.socket.onerror = (event) => this.events.error(event);
    this.socket.onclose = (event) => this.end(event, event.code, event.reason);
  }
  /**
   * Sends a heartbeat every ten seconds, so that the server knows that this client is alive.
   *
   * @param {() => boolean} wanted called each time
   */
  startHeartbeats(wanted) {
    this.heartbeatsWanted = wanted;
    clearInterval(this.timers.heartbeat);
    this.timers.heartbeat = setInterval(() => this.sendHeartbeat(), HEARTBEAT_MS);
  }
  sendHeartbeat() {
    if (this.socket?.readyState === 1 && this.heartbeatsWanted()) {
      this.socket.send(JSON.stringify({ type: "heartbeat" }));
    }
  }
  /** Closes without any report. */
  close() {
    this.finish();
    this.socket?.close();
  }
  /** The connection may be dead. The socket ends if the server stays silent for longer than usual. */
  checkAlive() {
    if (!this.opened) {
      return;
    }
    this.sendHeartbeat();
    const pauseMs = this.rhythm.longestMs;
    if (pauseMs !== null) {
      const restMs = pauseMs - (Date.now() - this.lastFrameAt);
      this.expectFrame(Math.max(0, restMs) + DOUBT_MS);
    }
  }
  /** @param {Event} event */
  onOpen(event) {
    clearTimeout(this.timers.opening);
    this.opened = true;
    this.lastFrameAt = Date.now();
    this.timers.proven = setTimeout(() => this.events.alive(), PROVEN_AFTER_MS);
    this.watchSilence();
    if (this.trusted) {
      this.announce(event);
    } else {
      this.timers.settled = setTimeout(() => this.announce(event), SETTLED_AFTER_MS);
    }
  }
  /**
   * @param {Event} event
   * @param {any} [list]
   */
  announce(event, list) {
    if (!this.announced) {
      this.announced = true;
      this.events.opened(event, list);
    }
  }
  /**
   * @param {Event} event
   * @param {any} list
   */
  onFirstMessage(event, list) {
    this.receivedFrame = true;
    clearTimeout(this.timers.proven);
    clearTimeout(this.timers.settled);
    this.announce(event, list);
    this.events.alive();
  }
  /** @param {MessageEvent} event */
  onMessage(event) {
    this.lastFrameAt = Date.now();
    const list = fromJson(event.data);
    if (!this.receivedFrame) {
      this.onFirstMessage(event, list);
    }
    if (list === void 0) {
      this.events.error(event);
      return;
    }
    if (Array.isArray(list) && isIdle(list)) {
      this.onHeartbeat(list);
    }
    this.watchSilence();
    if (Array.isArray(list) && list.length > 0) {
      this.events.frames(list);
    }
  }
  /**
   * The first cursor belongs to the start, and only later ones replace a heartbeat.
   *
   * @param {any[]} list
   */
  onHeartbeat(list) {
    if (list.length === 0 || this.hasCursor) {
      this.learnPause();
    }
    this.hasCursor ||= list.length > 0;
  }
  learnPause() {
    if (this.lastHeartbeatAt !== null) {
      this.rhythm.note(this.lastFrameAt - this.lastHeartbeatAt);
    }
    this.lastHeartbeatAt = this.lastFrameAt;
  }
  watchSilence() {
    const limitMs = this.silenceMs ?? this.rhythm.limitMs(SILENCE_MS);
    if (limitMs !== null && !this.finished) {
      this.expectFrame(limitMs);
    }
  }
  /** @param {number} withinMs */
  expectFrame(withinMs) {
    clearTimeout(this.timers.silence);
    const dueAt = Date.now() + withinMs;
    this.timers.silence = setTimeout(() => {
      if (Date.now() - dueAt > ASLEEP_MS) {
        this.expectFrame(DOUBT_MS);
      } else {
        this.end({ type: "silence" }, 1006, "no frame in time");
      }
    }, withinMs);
  }
  /**
   * @param {any} event
   * @param {number} code
   * @param {string} [reason]
   */
  end(event, code, reason = "") {
    if (this.finished) {
      return;
    }
    const { opened, receivedFrame } = this;
    const clean2 = opened ? code !== 1006 : event?.type !== "timeout";
    this.close();
    this.events.ended(event, { code, reason, opened, receivedFrame, clean: clean2 });
  }
  finish() {
    this.finished = true;
    Object.values(this.timers).forEach(clearTimeout);
    if (this.socket) {
      this.socket.onopen = null;
      this.socket.onmessage = null;
      this.socket.onerror = null;
      this.socket.onclose = null;
    }
  }
};

// src/eventsource.js
var SILENCE_MS2 = 12e4;
var DOUBT_MS2 = 15e3;
var LISTS = ["message", "attached", "subscribed", "token"];
var EventSourceListener = class {
  /**
   * @param {() => string} url the address, which names what has arrived
   * @param {StreamEvents} events
   * @param {?number} silenceMs the silence after which the stream is opened again
   */
  constructor(url, events, silenceMs) {
    this.url = url;
    this.events = events;
    this.silenceMs = silenceMs ?? SILENCE_MS2;
    this.announced = false;
    this.finished = false;
    this.source = null;
    this.timer = void 0;
    this.lastAt = 0;
    this.answered = false;
    this.opened = false;
  }
  open() {
    this.source?.close();
    this.answered = false;
    this.opened = false;
    this.expect(OPENING_LIMIT_MS, () => this.end({ type: "timeout" }, {}));
    try {
      this.source = new EventSource(this.url());
    } catch (error) {
      this.expect(0, () => this.end(error, { refused: true }));
      return;
    }
    const { source } = this;
    source.onopen = () => {
      this.answered = true;
    };
    source.onerror = (event) => this.end(event, { refused: !this.answered && source.readyState === 2 });
    LISTS.forEach((name) => source.addEventListener(name, (event) => this.onList(event)));
    source.addEventListener("end", (event) => this.onEnd(event));
  }
  /** Closes without any report. */
  close() {
    this.finished = true;
    this.pause(() => {
    });
  }
  /**
   * Closes the stream, so that new frames wait on the server, and calls back.
   *
   * @param {() => void} paused
   */
  pause(paused) {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    paused();
  }
  /** Opens the stream again after a pause. */
  resume() {
    if (!this.finished) {
      this.open();
    }
  }
  /** The connection may be dead. */
  checkAlive() {
    if (this.opened && Date.now() - this.lastAt > DOUBT_MS2) {
      this.open();
    }
  }
  /**
   * @param {number} ms
   * @param {() => void} otherwise
   */
  expect(ms, otherwise) {
    clearTimeout(this.timer);
    this.timer = setTimeout(otherwise, ms);
  }
  /** @param {MessageEvent} event */
  onList(event) {
    const list = fromJson(event.data);
    if (this.finished || !Array.isArray(list)) {
      return;
    }
    this.lastAt = Date.now();
    this.expect(this.silenceMs, () => this.open());
    if (!this.opened) {
      this.opened = true;
      this.events.alive();
    }
    if (!this.announced) {
      this.announced = true;
      this.events.opened(event, list);
    }
    this.events.frames(list, event.lastEventId);
  }
  /** @param {MessageEvent} event */
  onEnd(event) {
    const { code, reason } = fromJson(event.data) ?? {};
    this.end(event, { code: Number(code) || 1006, reason: String(reason ?? "") });
  }
  /**
   * @param {any} event
   * @param {{code?: number, reason?: string, refused?: boolean}} how
   */
  end(event, { code = 1006, reason = "", refused = false }) {
    if (this.finished) {
      return;
    }
    const ordered = code !== 1006;
    const isLate = event?.type === "timeout";
    const empty = this.answered && !this.opened && !ordered && !isLate;
    const clean2 = ordered || !(this.answered || isLate);
    this.close();
    this.events.ended(event, { code, reason, opened: this.announced || ordered, empty, refused, clean: clean2 });
  }
};

// src/longpoll.js
var HASTY_MS = 1e3;
var WAITS = 3;
var LEAST_LIMIT_MS = 15e3;
var MOST_LIMIT_MS = 12e4;
var LongPollListener = class {
  /**
   * @param {(first: boolean) => string} url the address of the next poll
   * @param {LongPollEvents} events
   * @param {object} options
   * @param {boolean} options.trusted whether the server has just issued the id, so that the first poll already counts
   *     as listening; otherwise the first response that was not hasty does
   */
  constructor(url, events, { trusted }) {
    this.url = url;
    this.events = events;
    this.announceEarly = trusted;
    this.answers = 0;
    this.announced = false;
    this.finished = false;
    this.onPause = null;
    this.longestMs = null;
    this.timer = void 0;
    this.poll = null;
    this.sentAt = 0;
  }
  open() {
    const poll = new ChannelStreamRequest();
    this.poll = poll;
    this.sentAt = Date.now();
    poll.url = this.url(this.answers === 0);
    poll.timeoutMs = this.limitMs();
    poll.handleResponse = (request, data) => this.onAnswer(request, data);
    poll.handleError = (request, data) => this.end(request, data, request.status);
    execute(poll, "GET");
    if (this.announceEarly && poll.request && !this.finished) {
      this.announce(poll.request);
    }
  }
  /** Ends the current poll without a report. */
  close() {
    this.finished = true;
    clearTimeout(this.timer);
    this.poll?.abort();
  }
  /**
   * Stops polling after the current poll, and calls back when that poll is answered. From then on no poll is in
   * flight and new frames wait on the server. A failure of the current poll is reported as usual.
   *
   * @param {() => void} paused
   */
  pause(paused) {
    this.onPause = paused;
  }
  /** Continues to poll after a pause. */
  resume() {
    if (!this.finished) {
      this.open();
    }
  }
  /** The connection may be dead. Sends the poll again if it takes longer than any poll before. */
  checkAlive() {
    const { poll, longestMs } = this;
    if (longestMs === null || !poll) {
      return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (poll === this.poll) {
        poll.abort();
        this.open();
      }
    }, Math.max(0, this.sentAt + longestMs + HASTY_MS - Date.now()));
  }
  limitMs() {
    const limitMs = this.longestMs === null ? MOST_LIMIT_MS : WAITS * this.longestMs;
    return Math.min(MOST_LIMIT_MS, Math.max(LEAST_LIMIT_MS, limitMs));
  }
  /**
   * @param {XMLHttpRequest} request
   * @param {any[]} [list]
   */
  announce(request, list) {
    if (!this.announced) {
      this.announced = true;
      this.events.opened(request, list);
    }
  }
  /**
   * @param {XMLHttpRequest} request
   * @param {any} list
   */
  onAnswer(request, list) {
    if (this.finished) {
      return;
    }
    if (!Array.isArray(list)) {
      this.end(request, list, request.status === 400 ? 400 : 0);
      return;
    }
    this.answers += 1;
    const tookMs = Date.now() - this.sentAt;
    const idle = isIdle(list);
    const hasty = idle && tookMs < HASTY_MS;
    if (!hasty && idle) {
      this.longestMs = Math.max(this.longestMs ?? 0, tookMs);
    }
    if (!hasty || this.answers > 1) {
      this.events.alive();
      this.announce(request, list);
    }
    const deliver = this.events.received(list);
    this.goOn(hasty);
    deliver();
  }
  /** @param {boolean} hasty */
  goOn(hasty) {
    const paused = this.onPause;
    this.onPause = null;
    if (this.finished) {
      return;
    }
    this.poll = null;
    if (paused) {
      paused();
    } else if (hasty) {
      this.timer = setTimeout(() => this.open(), HASTY_MS * (0.5 + Math.random()));
    } else {
      this.open();
    }
  }
  /**
   * @param {XMLHttpRequest} request
   * @param {any} data
   * @param {number} status
   */
  end(request, data, status) {
    if (this.finished) {
      return;
    }
    this.close();
    this.events.ended(request, data, { status, answered: this.answers > 0 });
  }
};

// src/reconnect.js
var TAKEN_OVER = 4001;
var ENDED = [4004, 4006];
var RENEW = 4005;
var UNKNOWN = 1e3;
var EMPTY_MS = 5e3;
var BUSY = 1013;
var RESTARTING = 1012;
var isOfServer = (code) => code === BUSY || code === RESTARTING || code >= 4e3 && code < 5e3;
var MUTE_SOCKETS = 3;
var connect = (now, reason) => ({ action: "connect", now, reason });
var resume = (transport, now) => ({ action: "resume", transport, now, reason: "lost" });
function askedMs(code, reason) {
  const asked = code === RESTARTING && /retry after (\d+) ms/.exec(reason);
  return asked ? Number(asked[1]) : 0;
}
function afterWebSocket({
  code,
  reason = "",
  opened,
  receivedFrame,
  resumed,
  lostForMs,
  graceMs,
  muteSockets,
  other,
  own = "websocket"
}) {
  if (code === TAKEN_OVER) {
    return { action: "stop", now: true, reason: "taken-over" };
  }
  if (ENDED.includes(code)) {
    return { action: "stop", now: true, reason: "ended" };
  }
  if (code === RENEW) {
    return { ...connect(true, "lost"), renew: true };
  }
  if (!opened && !resumed && other) {
    return { ...resume(other, true), fresh: true };
  }
  if (opened && !receivedFrame && code === UNKNOWN) {
    return connect(resumed, "forgotten");
  }
  if (muteSockets >= MUTE_SOCKETS && other) {
    return resume(other, true);
  }
  if (lostForMs > graceMs) {
    return connect(false, "lost");
  }
  const step = resume(opened || !other ? own : other, false);
  return { ...step, atLeastMs: askedMs(code, reason) };
}
function afterStream(end) {
  const { code, opened, refused, empty, resumed, other } = end;
  if (refused) {
    return other ? { ...resume(other, true), fresh: !resumed } : connect(false, "forgotten");
  }
  if (empty) {
    return { ...resume("sse", false), atLeastMs: EMPTY_MS };
  }
  return afterWebSocket({ ...end, receivedFrame: opened && code !== UNKNOWN, muteSockets: 0, own: "sse" });
}
function afterLongPoll({ status, resumed, answered, lostForMs, graceMs, other }) {
  if (isFinal(status)) {
    return connect(resumed, "forgotten");
  }
  if (lostForMs > graceMs) {
    return connect(false, "lost");
  }
  return resume(answered || !other ? "longpoll" : other, false);
}

// src/upgrade.js
var FIRST_WAIT_MS = 5e3;
var LONGEST_WAIT_MS = 3e5;
var LASTING_MS = 6e4;
function randomId() {
  const bytes = new Uint8Array(16).map(() => Math.floor(Math.random() * 256));
  globalThis.crypto?.getRandomValues?.(bytes);
  bytes[6] = bytes[6] & 15 | 64;
  bytes[8] = bytes[8] & 63 | 128;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, hex);
}
var Upgrade = class {
  /**
   * @param {(id: string) => string} urlFor the websocket's address with a connection id; empty to open no probe,
   *     because the server would refuse it, and lost frames are sent again
   * @param {(works: boolean) => void} onProbed called after each probe
   */
  constructor(urlFor, onProbed) {
    this.urlFor = urlFor;
    this.onProbed = onProbed;
    this.backoff = new Backoff();
    this.timer = null;
    this.probing = null;
  }
  /** Whether a probe is scheduled or in flight. */
  get busy() {
    return Boolean(this.timer || this.probing);
  }
  /** Schedules the next probe. The wait grows with each failure. */
  schedule() {
    this.cancel();
    const boundMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.backoff.failures);
    const waitMs = boundMs / 2 + this.backoff.next(FIRST_WAIT_MS, LONGEST_WAIT_MS) / 2;
    this.timer = setTimeout(() => this.probe(), waitMs);
  }
  probe() {
    this.timer = null;
    const url = this.urlFor(randomId());
    if (!url) {
      this.onProbed(true);
      return;
    }
    this.probing = new WebSocketListener(url, {
      opened: () => {
      },
      alive: () => {
      },
      frames: () => {
      },
      error: () => {
      },
      ended: (_, { code, opened }) => {
        this.probing = null;
        this.onProbed(opened && code === 1e3);
      }
    }, { silenceMs: FIRST_WAIT_MS });
    this.probing.open();
  }
  cancel() {
    clearTimeout(this.timer ?? void 0);
    this.timer = null;
    this.probing?.close();
    this.probing = null;
  }
  /** Makes the next wait short, after a websocket has lasted or the network has changed. */
  reset() {
    this.backoff.reset();
  }
};

// src/listening.js
var UNPROCESSABLE = 422;
var Listening = class {
  /**
   * @param {Settings} settings
   * @param {ListeningEvents} events
   * @param {import('./positions.js').Positions} positions
   * @param {import('./tokens.js').Tokens} tokens
   */
  constructor(settings, events, positions, tokens) {
    this.settings = settings;
    this.events = events;
    this.positions = positions;
    this.tokens = tokens;
    this.choice = new TransportChoice(settings);
    this.id = "";
    this.listener = null;
    this.successor = null;
    this.upgrade = new Upgrade((id) => tokens.enabled ? "" : withParameter(settings.websocketUrl, "conn_id", id), (works) => this.onProbed(works));
    this.rhythm = new Rhythm();
    this.lostAt = null;
    this.muteSockets = 0;
    this.openedAt = 0;
  }
  /** @returns {?TransportName} the transport in use, or being opened */
  get transport() {
    const { listener } = this;
    if (!listener) {
      return null;
    }
    if (listener instanceof WebSocketListener) {
      return "websocket";
    }
    return listener instanceof EventSourceListener ? "sse" : "longpoll";
  }
  /** @returns {?WebSocket} */
  get socket() {
    return this.listener instanceof WebSocketListener ? this.listener.socket : null;
  }
  /**
   * Listens with an id that the server has just issued.
   *
   * @param {string} id
   * @param {TransportName} [transport] by default the preferred one
   */
  start(id, transport) {
    this.id = id;
    this.lostAt = null;
    this.rhythm = new Rhythm();
    this.choice.pinned = transport === "longpoll";
    this.open(transport ?? this.choice.preferred, { resumed: false });
  }
  /**
   * Listens again with the present id.
   *
   * @param {TransportName} [transport]
   * @param {boolean} [fresh] whether the id still counts as just issued
   */
  resume(transport, fresh = false) {
    this.open(transport ?? this.choice.preferred, { resumed: !fresh });
  }
  /** Ends without a report. */
  stop() {
    this.upgrade.cancel();
    this.successor?.close();
    this.successor = null;
    this.listener?.close();
    this.listener = null;
  }
  /** The page was hidden, or the network may have changed, so the transport may be dead. */
  checkAlive() {
    this.listener?.checkAlive();
  }
  /** A network is available again, and it may be a different one. */
  resetTrust() {
    this.choice.distrusted.clear();
    this.muteSockets = 0;
    this.upgrade.reset();
    if (this.upgrade.timer) {
      this.upgrade.schedule();
    }
  }
  /**
   * @param {TransportName} transport
   * @param {boolean} [first] whether the transport starts, and does not just send its next poll
   */
  addressOf(transport, first = true) {
    const { settings, tokens, positions, choice } = this;
    const urls = { websocket: settings.websocketUrl, sse: choice.sseUrl, longpoll: settings.longPollUrl };
    let address = withParameter(urls[transport], "conn_id", this.id);
    if (tokens.enabled && transport !== "websocket") {
      address = withParameter(address, "token", tokens.token ?? "");
    }
    if (settings.resume && transport !== "sse") {
      address = withParameter(address, "resume", "1");
    }
    return settings.resume ? positions.addTo(address, first) : address;
  }
  /**
   * @param {any[]} list
   * @param {boolean} polled
   * @returns {() => void} passes it to the page
   */
  receive(list, polled) {
    const batch = this.positions.take(list, polled);
    return () => this.events.received(batch);
  }
  /**
   * @param {TransportName} transport
   * @param {{resumed: boolean}} how
   */
  open(transport, { resumed }) {
    this.stop();
    this.events.log("open", { transport, resumed });
    this.listener = this.newListener(transport, resumed);
    this.listener.open();
  }
  /**
   * @param {TransportName} transport
   * @param {boolean} resumed
   */
  newListener(transport, resumed) {
    if (transport === "websocket") {
      return this.newSocket(resumed);
    }
    return transport === "sse" ? this.newStream(resumed) : this.newPoll(resumed);
  }
  /** @param {boolean} resumed */
  newPoll(resumed) {
    return new LongPollListener((first) => this.addressOf("longpoll", first), {
      opened: (request, list) => this.events.opened(request, "longpoll", list),
      alive: () => this.onOtherAlive(),
      received: (list) => this.receive(list, true),
      ended: (request, data, end) => this.onPollEnded(request, data, { ...end, resumed })
    }, { trusted: this.trusts(resumed) });
  }
  /** @param {boolean} resumed */
  newStream(resumed) {
    return new EventSourceListener(() => this.addressOf("sse"), {
      opened: (event, list) => this.events.opened(event, "sse", list),
      alive: () => this.onOtherAlive(),
      frames: (list, cursor) => {
        const deliver = this.receive(list, false);
        this.positions.note(cursor);
        deliver();
      },
      ended: (event, end) => this.onStreamEnded(event, { ...end, resumed })
    }, this.settings.silenceTimeoutMs);
  }
  /** @param {boolean} resumed */
  newSocket(resumed) {
    const { rhythm, settings, tokens } = this;
    const protocols = tokens.enabled ? ["channelstream.v1", `channelstream.token.${tokens.token}`] : [];
    const address = this.addressOf("websocket");
    const trusted = this.trusts(resumed) && !this.positions.returning;
    const socket = new WebSocketListener(address, {
      opened: (event, list) => this.onSocketOpened(socket, event, list),
      alive: () => this.onAlive(),
      frames: (list) => this.receive(list, false)(),
      error: (event) => socket === this.listener && this.events.error(event),
      ended: (event, end) => this.onSocketEnded(socket, event, { ...end, resumed })
    }, { trusted, rhythm, silenceMs: settings.silenceTimeoutMs, protocols });
    return socket;
  }
  /**
   * Whether the server is known to have the connection. With a token, it makes the connection when it accepts the token.
   *
   * @param {boolean} resumed
   */
  trusts(resumed) {
    return !resumed && !this.tokens.enabled;
  }
  /**
   * @param {WebSocketListener} socket
   * @param {Event} event
   * @param {any} list
   */
  onSocketOpened(socket, event, list) {
    if (socket === this.successor) {
      this.listener?.close();
      this.successor = null;
      this.choice.distrusted.delete("websocket");
      this.listener = socket;
    }
    this.openedAt = Date.now();
    this.events.opened(event, "websocket", list);
  }
  /** Resets the waits, but not sooner: reconnects without waits could overload a server that closes each socket. */
  onAlive() {
    this.lostAt = null;
    this.muteSockets = 0;
    this.events.alive();
  }
  onOtherAlive() {
    this.onAlive();
    if (this.choice.prefersSocketTo(this.transport) && !this.upgrade.busy && !this.successor) {
      this.choice.distrusted.add("websocket");
      this.upgrade.schedule();
    }
  }
  /** @param {boolean} works */
  onProbed(works) {
    this.events.log("probe", { works });
    const { listener } = this;
    if (works && listener && !(listener instanceof WebSocketListener)) {
      listener.pause(() => this.changeToSocket());
    } else {
      this.upgrade.schedule();
    }
  }
  /** No poll or stream is open, so frames wait on the server until the socket is open and stay in order. */
  changeToSocket() {
    this.successor = this.newSocket(true);
    this.successor.open();
  }
  /**
   * @param {WebSocketListener} socket
   * @param {any} event
   * @param {import('./websocket.js').SocketEnd & {resumed: boolean}} end
   */
  onSocketEnded(socket, event, end) {
    if (socket === this.successor) {
      this.stay();
      return;
    }
    this.muteSockets += end.opened && !end.receivedFrame && !isOfServer(end.code) ? 1 : 0;
    if (end.opened && Date.now() - this.openedAt > LASTING_MS) {
      this.upgrade.reset();
    }
    const { muteSockets, graceMs } = this;
    const step = afterWebSocket({ ...end, lostForMs: this.lose(), graceMs, muteSockets, other: this.choice.other("websocket") });
    const { code, reason, clean: clean2 } = end;
    this.events.ended({ transport: "websocket", code, reason, clean: clean2 }, step, event);
  }
  stay() {
    this.successor = null;
    this.upgrade.schedule();
    if (this.listener && !(this.listener instanceof WebSocketListener)) {
      this.listener.resume();
    }
  }
  /**
   * @param {XMLHttpRequest} request
   * @param {any} data
   * @param {{status: number, answered: boolean, resumed: boolean}} end
   */
  onPollEnded(request, data, { status, answered, resumed }) {
    if (!answered) {
      this.choice.distrusted.clear();
    }
    if (status === UNPROCESSABLE) {
      this.positions.clear();
    }
    const { graceMs } = this;
    const other = this.choice.other("longpoll");
    const lostForMs = this.lose();
    const step = afterLongPoll({ status, answered, resumed: resumed || answered, lostForMs, graceMs, other });
    const reason = status ? `status ${status}` : "no response";
    this.events.ended({ transport: "longpoll", status, reason, clean: status !== 0 }, step, request, data);
  }
  /**
   * @param {any} event
   * @param {import('./eventsource.js').StreamEnd & {resumed: boolean}} end
   */
  onStreamEnded(event, end) {
    if (end.refused || !end.opened && event?.type === "timeout") {
      this.choice.distrusted.add("sse");
    }
    const { graceMs } = this;
    const step = afterStream({ ...end, lostForMs: this.lose(), graceMs, other: this.choice.other("sse") });
    const { code, reason, clean: clean2 } = end;
    this.events.ended({ transport: "sse", code, reason, clean: clean2 }, step, event);
  }
  /** With a token the server makes a connection that it has forgotten, so the id stays. */
  get graceMs() {
    return this.tokens.enabled ? Infinity : this.settings.graceTimeMs;
  }
  /** @returns {number} milliseconds since the server was last known to be reachable */
  lose() {
    this.stop();
    this.lostAt ??= Date.now();
    return Date.now() - this.lostAt;
  }
};

// src/page.js
function watchPage({ wake, online, offline, suspend, resume: resume2 }) {
  const page = globalThis.document;
  const onVisibility = () => page.visibilityState === "visible" && wake();
  const listeners = [
    [page, "visibilitychange", onVisibility],
    [page, "freeze", suspend],
    [page, "resume", resume2],
    [globalThis, "online", online],
    [globalThis, "offline", offline],
    [globalThis, "pagehide", suspend],
    [globalThis, "pageshow", resume2]
  ];
  listeners.forEach(([target, name, listener]) => target?.addEventListener?.(name, listener));
  return () => listeners.forEach(([target, name, listener]) => target?.removeEventListener?.(name, listener));
}
function sendBeacon(url, body) {
  try {
    globalThis.navigator?.sendBeacon?.(url, body);
  } catch {
  }
}

// src/ready.js
function whenReady(connection, timeoutMs) {
  return new Promise((resolve, reject) => {
    let timer;
    const check = () => {
      if (connection.connected && connection._opening) {
        resolve(connection._opening);
      } else if (connection._isOver) {
        reject(new ChannelStreamError("closed", "ready", "the connection is closed"));
      } else {
        return false;
      }
      clearTimeout(timer);
      return true;
    };
    if (check()) {
      return;
    }
    const off = connection.on("state", () => check() && off());
    if (timeoutMs !== void 0) {
      timer = setTimeout(() => {
        off();
        reject(new ChannelStreamError("timeout", "ready", `not connected after ${timeoutMs} ms`));
      }, timeoutMs);
    }
  });
}

// src/retry.js
var HURRY_MS = 1e3;
var ASKED_LIMIT_MS = 3e5;
var Retry = class {
  /**
   * @param {{increaseBounceIv: number, maxReconnectDelayMs: number}} settings read at each wait
   * @param {(wait: {attempt: number, delayMs: number, name: string}) => void} onWait called with each wait
   */
  constructor(settings, onWait) {
    this.settings = settings;
    this.onWait = onWait;
    this.backoff = new Backoff();
    this.step = null;
    this.timer = void 0;
    this.lastAttemptAt = -Infinity;
  }
  /**
   * @param {string} name
   * @param {() => void} step
   * @param {{now?: boolean, atLeastMs?: number}} [how] `now`: without a wait
   */
  schedule(name, step, { now = false, atLeastMs = 0 } = {}) {
    const delayMs = now ? 0 : Math.max(this.waitMs(), Math.min(atLeastMs, ASKED_LIMIT_MS));
    this.onWait({ attempt: Math.max(1, this.backoff.failures), delayMs, name });
    this.arm(step, delayMs);
  }
  /** While the browser reports that it is offline, attempts are rare but do not stop: the report may be wrong. */
  waitMs() {
    const { increaseBounceIv, maxReconnectDelayMs } = this.settings;
    const waitMs = this.backoff.next(increaseBounceIv, maxReconnectDelayMs);
    return globalThis.navigator?.onLine === false ? boundOf(maxReconnectDelayMs) : waitMs;
  }
  /**
   * @param {() => void} step
   * @param {number} delayMs
   */
  arm(step, delayMs) {
    clearTimeout(this.timer);
    this.step = step;
    this.timer = setTimeout(() => {
      this.step = null;
      this.lastAttemptAt = Date.now();
      step();
    }, delayMs);
  }
  /** Runs the waiting step immediately, because the chances have improved. */
  retrySoon() {
    if (this.step) {
      this.arm(this.step, Math.max(0, this.lastAttemptAt + HURRY_MS - Date.now()));
    }
  }
  cancel() {
    clearTimeout(this.timer);
    this.step = null;
  }
  /** Must be called when the server is known to be reachable. */
  succeeded() {
    this.backoff.reset();
  }
};

// src/tokens.js
var ANSWER_LIMIT_MS = 3e4;
var FAILURES = 3;
var REPLACED_AT = 0.8;
var SPREAD = 0.1;
var HURRY_MS2 = 1e3;
function claimsOf(token) {
  try {
    return Object(JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))));
  } catch {
    return {};
  }
}
function lifetimeOf(token) {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== "number") {
    return Infinity;
  }
  const leftMs = exp * 1e3 - Date.now();
  const wholeMs = typeof iat === "number" ? (exp - iat) * 1e3 : leftMs;
  return leftMs > 0 ? Math.min(leftMs, wholeMs) : wholeMs;
}
var Tokens = class {
  /**
   * @param {any} settings with `getToken` and `username`, read each time they are needed
   * @param {object} events
   * @param {() => void} events.renewed a token has replaced one in use
   * @param {(error: ChannelStreamError, final: boolean) => void} events.failed
   */
  constructor(settings, events) {
    this.settings = settings;
    this.events = events;
    this.token = null;
    this.expiresAt = 0;
    this.replaceAt = Infinity;
    this.failures = 0;
    this.turn = 0;
    this.reason = "connect";
    this.timer = void 0;
  }
  get enabled() {
    return typeof this.settings.getToken === "function";
  }
  /** Ends requests and timers. The token stays. */
  cancel() {
    this.turn += 1;
    clearTimeout(this.timer);
  }
  /**
   * Forgets the token, because the server does not accept it any more.
   *
   * @param {import('../index.js').TokenReason} reason
   */
  drop(reason) {
    this.token = null;
    this.reason = reason;
  }
  /** The server has accepted the token. */
  accepted() {
    this.failures = 0;
  }
  /**
   * The server has refused the token.
   *
   * @param {string} why
   * @param {any} [data]
   * @returns {boolean} whether to try again
   */
  refused(why, data) {
    this.drop("refused");
    return this.fail(new ChannelStreamError("refused", "token", why, { status: 401, data }));
  }
  /**
   * @param {ChannelStreamError} error
   * @returns {boolean} whether to try again
   */
  fail(error) {
    this.failures += globalThis.navigator?.onLine === false ? 0 : 1;
    const { turn } = this;
    const final = this.failures >= FAILURES;
    this.events.failed(error, final);
    return !final && turn === this.turn;
  }
  /**
   * Calls `use` when there is a valid token, at once if there is one already. Without `getToken` none is needed.
   *
   * @param {() => void} use
   * @param {() => void} again called after a failure that is not final
   */
  ensure(use, again) {
    if (!this.enabled) {
      use();
    } else if (this.token !== null && Date.now() < this.expiresAt) {
      this.arm(this.replaceAt - Date.now());
      use();
    } else {
      this.request(this.token === null ? this.reason : "expired", use, again);
    }
  }
  /**
   * @param {import('../index.js').TokenReason} reason
   * @param {() => void} use
   * @param {() => void} again
   */
  request(reason, use, again) {
    this.cancel();
    const { turn } = this;
    const fail = (cause) => {
      if (turn === this.turn) {
        this.cancel();
        if (this.fail(new ChannelStreamError("answer", "token", String(cause), { data: cause }))) {
          again();
        }
      }
    };
    this.timer = setTimeout(fail, ANSWER_LIMIT_MS, "no token in time");
    const asked = new Promise((resolve) => {
      resolve(this.settings.getToken({ user: this.settings.username, reason }));
    });
    asked.then((token) => {
      if (typeof token !== "string" || token === "") {
        fail("getToken returned no text");
      } else if (turn === this.turn) {
        this.take(token);
        use();
      }
    }, fail);
  }
  /** @param {string} token */
  take(token) {
    const lifetimeMs = lifetimeOf(token);
    const part = REPLACED_AT + SPREAD * (2 * Math.random() - 1);
    this.token = token;
    this.reason = "connect";
    this.expiresAt = Date.now() + lifetimeMs;
    this.replaceAt = Date.now() + Math.max(HURRY_MS2, part * lifetimeMs);
    this.arm(this.replaceAt - Date.now());
  }
  /**
   * @param {number} delayMs
   * @param {import('../index.js').TokenReason} [reason]
   */
  arm(delayMs, reason = "refresh") {
    clearTimeout(this.timer);
    if (delayMs < Infinity) {
      this.timer = setTimeout(() => this.replace(reason), boundOf(delayMs));
    }
  }
  /**
   * Replaces the token of a session that goes on. Failed attempts are spread over the time that is left.
   *
   * @param {import('../index.js').TokenReason} reason
   */
  replace(reason) {
    this.request(reason, () => this.events.renewed(), () => this.arm(this.pauseMs(), reason));
  }
  pauseMs() {
    return Math.max(HURRY_MS2, (this.expiresAt - Date.now()) / FAILURES);
  }
  /**
   * The server's answer to a new token. If it was refused, the session goes on until the earlier one expires.
   *
   * @param {{error?: string, data?: any}} answer
   */
  answered({ error, data }) {
    if (error === void 0) {
      this.accepted();
    } else if (this.refused(error, data)) {
      this.arm(this.pauseMs(), "refused");
    }
  }
};

// src/lifecycle.js
var FORBIDDEN = 403;
var LOOP_MS = 5e3;
var ChannelStreamLifecycle = class extends ChannelStreamBackend {
  /** @type {string} the server's websocket, ws: or wss: */
  websocketUrl = "";
  /** @type {string} the server's long-polling */
  longPollUrl = "";
  /** @type {string} the server's stream of events; empty to derive it from `longPollUrl` */
  sseUrl = "";
  /** @type {TransportName[]} the transports to use, the preferred one first */
  transports = ["websocket", "sse", "longpoll"];
  /** @type {boolean} whether the server continues where the connection was cut */
  resume = true;
  /** @type {?import('../index.js').GetToken} returns a token with which the page connects instead of `connectUrl` */
  getToken = null;
  /** @type {string} the address that disconnect() calls */
  disconnectUrl = "";
  /** @type {?WebSocket} the socket in use */
  websocket = null;
  /** @type {boolean} whether to reconnect after a failure */
  shouldReconnect = true;
  /** @type {boolean} whether to send heartbeats on the websocket */
  heartbeats = true;
  /** @type {number} bound of the first wait before a reconnect, in milliseconds; it doubles with every failure */
  increaseBounceIv = 2e3;
  /** @type {number} bound of the longest wait before a reconnect, in milliseconds */
  maxReconnectDelayMs = 6e4;
  /** @type {number} how long the server keeps a connection without a transport, in milliseconds */
  graceTimeMs = 3e4;
  /** @type {?number} the silence that ends a websocket, in ms; null to learn it from the server's heartbeats */
  silenceTimeoutMs = null;
  /** @type {boolean} whether to use long-polling only */
  noWebsocket = false;
  /** @type {boolean} whether to send a disconnect to the server when the page is closed */
  disconnectOnPagehide = false;
  /** @type {boolean} whether the connection is listening */
  connected = false;
  /** @type {ConnectionState} */
  _state = "disconnected";
  /** @type {?OpenEvent} */
  _opening = null;
  /** Whether frames may have been lost since the connection last listened. */
  _gap = false;
  /** @type {?import('./request.js').ChannelStreamRequest} */
  _connecting = null;
  /** Counts ends, so that the library detects a callback that ends the connection. */
  _turn = 0;
  _retrying = false;
  _suspended = false;
  /** @type {(() => void) | null} */
  _unwatch = null;
  _retry = new Retry(this, ({ name, ...wait }) => this._onWait(
    /** @type {any} */
    name,
    wait
  ));
  _positions = new Positions();
  _tokens = new Tokens(this, {
    renewed: () => this._sendToken(),
    failed: (error, final) => this._onTokenFailed(error, final)
  });
  _listening = new Listening(this, {
    opened: (request, transport, list) => this._onOpened(request, transport, list),
    alive: () => {
      this._retry.succeeded();
      this._tokens.accepted();
    },
    received: (batch) => this._onReceived(batch),
    error: (event) => this._invoke("listenErrorCallback", event),
    ended: (close, step, request, data) => this._onEnded(close, step, request, data),
    log: (event, details) => this._log(event, details)
  }, this._positions, this._tokens);
  get state() {
    return this._state;
  }
  get transport() {
    return this.connected ? this._listening.transport : null;
  }
  /**
   * Requests a connection id and listens.
   *
   * @returns {Promise<OpenEvent>}
   */
  connect() {
    throw new TypeError("a subclass must define connect()");
  }
  /**
   * Waits until the connection listens.
   *
   * @param {number} [timeoutMs] no limit by default
   * @returns {Promise<OpenEvent>}
   */
  ready(timeoutMs) {
    return quiet(whenReady(this, timeoutMs));
  }
  /** Sends heartbeats on the open websocket unless `heartbeats` is off. The library calls this itself. */
  createHeartBeats() {
    const { listener } = this._listening;
    if (listener instanceof WebSocketListener) {
      listener.startHeartbeats(() => this.heartbeats);
    }
  }
  /** @param {{now?: boolean, atLeastMs?: number}} how */
  _scheduleConnect(how) {
    if (!this.shouldReconnect) {
      return;
    }
    this._retry.schedule("connect", () => {
      this._retrying = true;
      try {
        this.connect();
      } finally {
        this._retrying = false;
      }
    }, how);
  }
  /** Whether no attempt is made until connect() is called. */
  get _isOver() {
    return this._state === "disconnected" || this._state === "failed";
  }
  /** @param {TransportName} [transport] */
  _listen(transport) {
    if (this._isOver) {
      this._setState("connecting", "connect");
    }
    this._retry.cancel();
    this._hasId = true;
    this._listening.start(this.connectionId ?? "", transport);
    this.websocket = this._listening.socket;
  }
  /**
   * @param {any} request
   * @param {TransportName} transport
   * @param {any} [list] the first list of the transport
   */
  _onOpened(request, transport, list) {
    const connectionId = this.connectionId ?? "";
    const resumed = this._opening?.connectionId === connectionId;
    const hasLoss = this._positions.returning ? reportsLoss(list) : void 0;
    const gap = hasLoss ?? (this._gap || this._opening !== null && !resumed);
    const turn = this._turn;
    this._gap = false;
    this.connected = true;
    this.websocket = this._listening.socket;
    this._opening = { transport, connectionId, resumed, gap };
    this.createHeartBeats();
    this._setState("connected", "open");
    this._invoke("listenOpenedCallback", request);
    if (turn !== this._turn) {
      return;
    }
    this._emit("open", { transport, connectionId, resumed, gap });
    if (gap && resumed && hasLoss === void 0) {
      this._subscriptions.refresh();
    }
  }
  /** @param {import('./positions.js').Batch} batch */
  _onReceived({ frames, elements, verdicts, channels }) {
    elements.filter(({ type }) => type === "token").forEach((answer) => this._tokens.answered(answer));
    if (this._tokens.enabled) {
      const added = elements.filter(({ type }) => type === "subscribed").map(({ channel }) => channel);
      this._takeChannels(channels, added);
    }
    for (const verdict of verdicts) {
      this._emit("recovered", verdict);
      if (!verdict.recovered && verdict.channel !== null) {
        this._subscriptions.lose(
          /** @type {any} */
          verdict,
          this._tokens.enabled || Boolean(this._opening?.resumed)
        );
      }
    }
    if (frames.length > 0) {
      this._onFrames(frames);
    }
  }
  /** @param {any[]} list */
  _onFrames(list) {
    this._invoke("listenMessageCallback", list);
    for (const frame of list) {
      callPage(() => this._subscriptions.receive(frame));
      this._emit("frame", frame);
      if (FRAME_TYPES.includes(frame?.type)) {
        this._emit(frame.type, frame);
      }
    }
  }
  /**
   * @param {import('../index.js').CloseEvent} close
   * @param {import('./reconnect.js').Step} step
   * @param {any} request
   * @param {any} data
   */
  _onEnded(close, step, request, data) {
    this.connected = false;
    this.websocket = null;
    this._gap ||= !close.clean;
    this._log("close", { ...close });
    const next = this._tokens.enabled ? this._withToken(step, close, data) : step;
    if (next) {
      this._follow(next);
    }
    this._invoke(close.transport === "websocket" ? "listenCloseCallback" : "listenErrorCallback", request, data);
    this._emit("close", close);
  }
  /** @param {import('./reconnect.js').Step} step */
  _follow({ action, transport, now, fresh, atLeastMs, reason }) {
    if (!this.shouldReconnect || action === "stop") {
      this._end(reason);
      return;
    }
    if (this._state === "connected") {
      this._setState("reconnecting", reason);
    }
    if (action === "connect") {
      this._scheduleConnect({ now });
    } else {
      this._retry.schedule("resume", () => this._resume(transport, fresh), { now, atLeastMs });
    }
  }
  /**
   * With a token the connection keeps its id, and listens with a new token if the present one is of no use.
   *
   * @param {import('./reconnect.js').Step} step
   * @param {import('../index.js').CloseEvent} close
   * @param {any} data
   * @returns {?import('./reconnect.js').Step} null if the connection has failed
   */
  _withToken(step, { status, reason }, data) {
    if (step.action !== "connect") {
      return step;
    }
    if (step.renew) {
      this._tokens.drop("expired");
      return { ...step, action: "resume", now: Date.now() - this._retry.lastAttemptAt > LOOP_MS };
    }
    if (status === FORBIDDEN) {
      this.connectionId = null;
    }
    return this._tokens.refused(reason, data) ? step : null;
  }
  /**
   * @param {import('./errors.js').ChannelStreamError} error
   * @param {boolean} final
   */
  _onTokenFailed(error, final) {
    if (final || !(this.connected || this.shouldReconnect)) {
      this._halt();
      this._end("failed", final ? "failed" : "disconnected");
    }
    this._emit("error", error);
  }
  /** Replaces the token of the session that is open. Without one, the next session starts with it. */
  _sendToken() {
    const { token } = this._tokens;
    const { socket, transport, choice } = this._listening;
    if (!this.connected) {
      return;
    }
    if (socket) {
      socket.send(JSON.stringify({ type: "token", token }));
      return;
    }
    const url = sibling(transport === "sse" ? choice.sseUrl : this.longPollUrl, "token");
    const request = prepare(this, { url, body: { conn_id: this.connectionId, token } });
    request.handleResponse = () => this._tokens.accepted();
    request.handleError = ({ status }, data) => {
      if (isFinal(status)) {
        this._tokens.answered({ error: `status ${status}`, data });
      }
    };
    execute(request, "POST");
  }
  /**
   * @param {TransportName} [transport]
   * @param {boolean} [fresh]
   */
  _resume(transport, fresh) {
    this._tokens.ensure(() => {
      this._listening.resume(transport, fresh);
      this.websocket = this._listening.socket;
    }, () => this._retry.schedule("resume", () => this._resume(transport, fresh)));
  }
  /**
   * @param {'connect' | 'resume'} action
   * @param {{attempt: number, delayMs: number}} wait
   */
  _onWait(action, wait) {
    this._log("retry", { action, ...wait });
    this._emit("retry", { action, ...wait });
  }
  /**
   * Ends the connection until connect() is called again.
   *
   * @param {StateReason} reason
   * @param {ConnectionState} [state]
   */
  _end(reason, state = "disconnected") {
    this._hasId = false;
    this._tokens.cancel();
    this._subscriptions.close();
    this._setState(state, reason);
  }
  /**
   * @param {ConnectionState} state
   * @param {StateReason} reason
   */
  _setState(state, reason) {
    const previous = this._state;
    this._state = state;
    if (this._isOver) {
      this._unwatch?.();
      this._unwatch = null;
    } else {
      this._unwatch ??= this._watch();
    }
    if (state !== previous) {
      this._log("state", { state, previous, reason });
      this._emit("state", { state, previous, reason });
    }
  }
  _watch() {
    return watchPage({
      wake: () => this._onWake(),
      online: () => {
        this._listening.resetTrust();
        this._onWake();
      },
      offline: () => this._listening.checkAlive(),
      suspend: (event) => this._suspend(event),
      resume: () => this._wakeUp()
    });
  }
  _onWake() {
    this._retry.retrySoon();
    this._listening.checkAlive();
  }
  /**
   * Stops listening. An open socket keeps the page out of the back/forward cache, and browsers close the socket of a
   * frozen page together with the frames that it has received. Without a listener the server keeps the frames.
   *
   * @param {{type: string, persisted?: boolean}} event
   */
  _suspend({ type, persisted }) {
    const id = this._hasId && this.connectionId;
    this._gap ||= this.connected;
    this._halt();
    this._suspended = true;
    if (this._state === "connected") {
      this._setState("reconnecting", "suspended");
    }
    if (this.disconnectOnPagehide && type === "pagehide" && !persisted && this.disconnectUrl && id) {
      const url = withParameter(this.disconnectUrl, "conn_id", id);
      sendBeacon(url, JSON.stringify({ conn_id: id }));
    }
  }
  _wakeUp() {
    if (!this._suspended) {
      this._onWake();
      return;
    }
    this._suspended = false;
    if (this._hasId) {
      this._resume();
    } else {
      this._scheduleConnect({ now: true });
    }
  }
  /** Ends all activity without a report. There is at most one attempt or one listener at any time. */
  _halt() {
    this._turn += 1;
    this._suspended = false;
    this._retry.cancel();
    this._tokens.cancel();
    this._connecting?.abort();
    this._connecting = null;
    this._listening.stop();
    this.websocket = null;
    this.connected = false;
  }
};

// src/connection.js
var CONNECT_TIMEOUT_MS = 3e4;
var ChannelStreamConnection = class extends ChannelStreamLifecycle {
  /** @returns {string} the version of this library */
  static get version() {
    return "1.0.0";
  }
  /** @param {Record<string, any>} [options] any of the public properties and callbacks */
  constructor(options = {}) {
    super();
    const known = Object.keys(this).filter((key) => !key.startsWith("_"));
    for (const [key, value] of Object.entries(options)) {
      if (!known.includes(key) && !(key.endsWith("Callback") && key in this)) {
        throw new TypeError(`there is no option ${JSON.stringify(key)}`);
      }
      Object.assign(this, { [key]: value });
    }
  }
  /** Requests a connection id from the web application and starts to listen. */
  connect() {
    this._halt();
    const turn = this._turn;
    this._hasId = false;
    if (!this._retrying || this._isOver) {
      this._setState("connecting", "connect");
    }
    if (turn !== this._turn) {
      return this.ready();
    }
    this._subscriptions.update();
    if (this._tokens.enabled) {
      this._connectWithToken();
      return this.ready();
    }
    const request = prepare(this, {
      url: this.connectUrl,
      body: { username: this.username, channels: this._subscriptions.forConnect() },
      timeoutMs: CONNECT_TIMEOUT_MS
    });
    request.handleResponse = (answer, data) => this._onConnected(request, answer, data);
    request.handleError = (answer, data) => this._onConnectFailed(request, answer, data);
    this._connecting = request;
    try {
      mutate(this, "connect", request);
    } catch (error) {
      if (turn === this._turn) {
        request.fail(error);
      }
      throw error;
    }
    if (turn === this._turn) {
      execute(request, "POST");
    }
    return this.ready();
  }
  /** Lets the server make the connection from a token. The page chooses its id, which stays. */
  _connectWithToken() {
    if (!this._retrying) {
      this._tokens.accepted();
    }
    this._tokens.request(this._tokens.reason, () => {
      this.connectionId ??= randomId();
      this._subscriptions.isKnown = false;
      listOf(this.channels).forEach((name) => this._subscriptions.wanted.add(name));
      this._subscriptions.renew();
      this.startListening();
    }, () => this._scheduleConnect({}));
  }
  /** Stops listening and requests at `disconnectUrl` that the server remove the connection. */
  disconnect() {
    const { connectionId } = this;
    const sent = this.disconnectUrl && connectionId ? this._sendDisconnect(connectionId) : Promise.resolve();
    this.closeConnection();
    return sent;
  }
  /** Stops listening until connect() is called again. */
  closeConnection() {
    this._halt();
    this._end("closed");
    this._invoke("connectionClosedCallback");
  }
  /** Calls beforeListeningCallback, then starts to listen with `connectionId`. */
  startListening(request, data) {
    const turn = this._turn;
    this._invoke("beforeListeningCallback", request, data);
    if (turn === this._turn) {
      this._listen();
    }
  }
  /** Listens over a websocket with `connectionId`. */
  openWebsocket() {
    this._listen("websocket");
  }
  /** Listens over long-polling with `connectionId`, and does not change to a websocket. */
  openLongPoll() {
    this._listen("longpoll");
  }
  /** Calls connect() after the next wait of the back-off, if `shouldReconnect` is set. */
  retryConnection() {
    this._scheduleConnect({});
  }
  /** @param {string} id */
  _sendDisconnect(id) {
    return send(this, {
      kind: "disconnect",
      url: withParameter(this.disconnectUrl, "conn_id", id),
      body: { conn_id: id },
      callback: "disconnect"
    });
  }
  /**
   * @param {import('./request.js').ChannelStreamRequest} request
   * @param {XMLHttpRequest} answer
   * @param {any} data
   */
  _onConnected(request, answer, data) {
    if (typeof data?.conn_id !== "string" || data.conn_id === "" || answer.status >= 400) {
      this._onConnectFailed(request, answer, data);
      return;
    }
    this._connecting = null;
    const turn = this._turn;
    const previousId = this._takeId(data);
    this._invoke("connectCallback", answer, data);
    this._emit("connect", { connectionId: data.conn_id, previousId, data });
    if (turn === this._turn) {
      this.startListening(answer, data);
    }
  }
  /**
   * @param {import('./request.js').ChannelStreamRequest} request
   * @param {XMLHttpRequest} answer
   * @param {any} data
   */
  _onConnectFailed(request, answer, data) {
    this._connecting = null;
    const { status } = answer;
    const error = status > 0 && status < 400 ? new ChannelStreamError("answer", "connect", "the response has no conn_id", { status, data }) : ChannelStreamError.of("connect", request, data);
    if (this.shouldReconnect) {
      this._scheduleConnect({ atLeastMs: askedWaitMs(answer) });
    } else {
      this._end("failed");
    }
    this._invoke("connectErrorCallback", answer, data);
    this._emit("error", error);
  }
};
function askedWaitMs(answer) {
  const [, seconds] = /^retry-after: *(\d+)/im.exec(answer.getAllResponseHeaders() ?? "") ?? [];
  return [429, 503].includes(answer.status) ? Number(seconds ?? 0) * 1e3 : 0;
}

// ../../tests/browser/node_modules/@noble/hashes/utils.js
function isBytes(a) {
  return a instanceof Uint8Array || ArrayBuffer.isView(a) && a.constructor.name === "Uint8Array" && "BYTES_PER_ELEMENT" in a && a.BYTES_PER_ELEMENT === 1;
}
function anumber(n, title = "") {
  if (typeof n !== "number") {
    const prefix = title && `"${title}" `;
    throw new TypeError(`${prefix}expected number, got ${typeof n}`);
  }
  if (!Number.isSafeInteger(n) || n < 0) {
    const prefix = title && `"${title}" `;
    throw new RangeError(`${prefix}expected integer >= 0, got ${n}`);
  }
}
function abytes(value, length, title = "") {
  const bytes = isBytes(value);
  const len = value?.length;
  const needsLen = length !== void 0;
  if (!bytes || needsLen && len !== length) {
    const prefix = title && `"${title}" `;
    const ofLen = needsLen ? ` of length ${length}` : "";
    const got = bytes ? `length=${len}` : `type=${typeof value}`;
    const message = prefix + "expected Uint8Array" + ofLen + ", got " + got;
    if (!bytes)
      throw new TypeError(message);
    throw new RangeError(message);
  }
  return value;
}
function ahash(h) {
  if (typeof h !== "function" || typeof h.create !== "function")
    throw new TypeError("Hash must wrapped by utils.createHasher");
  anumber(h.outputLen);
  anumber(h.blockLen);
  if (h.outputLen < 1)
    throw new Error('"outputLen" must be >= 1');
  if (h.blockLen < 1)
    throw new Error('"blockLen" must be >= 1');
}
function aexists(instance, checkFinished = true) {
  if (instance.destroyed)
    throw new Error("Hash instance has been destroyed");
  if (checkFinished && instance.finished)
    throw new Error("Hash#digest() has already been called");
}
function aoutput(out, instance) {
  abytes(out, void 0, "digestInto() output");
  const min = instance.outputLen;
  if (out.length < min) {
    throw new RangeError('"digestInto() output" expected to be of length >=' + min);
  }
}
function clean(...arrays) {
  for (let i = 0; i < arrays.length; i++) {
    arrays[i].fill(0);
  }
}
function createView(arr) {
  return new DataView(arr.buffer, arr.byteOffset, arr.byteLength);
}
function rotl(word, shift) {
  return word << shift | word >>> 32 - shift >>> 0;
}
function createHasher(hashCons, info = {}) {
  const hashC = (msg, opts) => hashCons(opts).update(msg).digest();
  const tmp = hashCons(void 0);
  hashC.outputLen = tmp.outputLen;
  hashC.blockLen = tmp.blockLen;
  hashC.canXOF = tmp.canXOF;
  hashC.create = (opts) => hashCons(opts);
  Object.assign(hashC, info);
  return Object.freeze(hashC);
}

// ../../tests/browser/node_modules/@noble/hashes/hmac.js
var _HMAC = class {
  oHash;
  iHash;
  blockLen;
  outputLen;
  canXOF = false;
  finished = false;
  destroyed = false;
  constructor(hash, key) {
    ahash(hash);
    abytes(key, void 0, "key");
    this.iHash = hash.create();
    if (typeof this.iHash.update !== "function")
      throw new Error("Expected instance of class which extends utils.Hash");
    this.blockLen = this.iHash.blockLen;
    this.outputLen = this.iHash.outputLen;
    const blockLen = this.blockLen;
    const pad = new Uint8Array(blockLen);
    pad.set(key.length > blockLen ? hash.create().update(key).digest() : key);
    for (let i = 0; i < pad.length; i++)
      pad[i] ^= 54;
    this.iHash.update(pad);
    this.oHash = hash.create();
    for (let i = 0; i < pad.length; i++)
      pad[i] ^= 54 ^ 92;
    this.oHash.update(pad);
    clean(pad);
  }
  update(buf) {
    aexists(this);
    this.iHash.update(buf);
    return this;
  }
  digestInto(out) {
    aexists(this);
    aoutput(out, this);
    this.finished = true;
    const buf = out.subarray(0, this.outputLen);
    this.iHash.digestInto(buf);
    this.oHash.update(buf);
    this.oHash.digestInto(buf);
    this.destroy();
  }
  digest() {
    const out = new Uint8Array(this.oHash.outputLen);
    this.digestInto(out);
    return out;
  }
  _cloneInto(to) {
    to ||= Object.create(Object.getPrototypeOf(this), {});
    const { oHash, iHash, finished, destroyed, blockLen, outputLen } = this;
    to = to;
    to.finished = finished;
    to.destroyed = destroyed;
    to.blockLen = blockLen;
    to.outputLen = outputLen;
    to.oHash = oHash._cloneInto(to.oHash);
    to.iHash = iHash._cloneInto(to.iHash);
    return to;
  }
  clone() {
    return this._cloneInto();
  }
  destroy() {
    this.destroyed = true;
    this.oHash.destroy();
    this.iHash.destroy();
  }
};
var hmac = /* @__PURE__ */ (() => {
  const hmac_ = ((hash, key, message) => new _HMAC(hash, key).update(message).digest());
  hmac_.create = (hash, key) => new _HMAC(hash, key);
  return hmac_;
})();

// ../../tests/browser/node_modules/@noble/hashes/_md.js
function Chi(a, b, c) {
  return a & b ^ ~a & c;
}
function Maj(a, b, c) {
  return a & b ^ a & c ^ b & c;
}
var HashMD = class {
  blockLen;
  outputLen;
  canXOF = false;
  padOffset;
  isLE;
  // For partial updates less than block size
  buffer;
  view;
  finished = false;
  length = 0;
  pos = 0;
  destroyed = false;
  constructor(blockLen, outputLen, padOffset, isLE) {
    this.blockLen = blockLen;
    this.outputLen = outputLen;
    this.padOffset = padOffset;
    this.isLE = isLE;
    this.buffer = new Uint8Array(blockLen);
    this.view = createView(this.buffer);
  }
  update(data) {
    aexists(this);
    abytes(data);
    const { view, buffer, blockLen } = this;
    const len = data.length;
    for (let pos = 0; pos < len; ) {
      const take = Math.min(blockLen - this.pos, len - pos);
      if (take === blockLen) {
        const dataView = createView(data);
        for (; blockLen <= len - pos; pos += blockLen)
          this.process(dataView, pos);
        continue;
      }
      buffer.set(data.subarray(pos, pos + take), this.pos);
      this.pos += take;
      pos += take;
      if (this.pos === blockLen) {
        this.process(view, 0);
        this.pos = 0;
      }
    }
    this.length += data.length;
    this.roundClean();
    return this;
  }
  digestInto(out) {
    aexists(this);
    aoutput(out, this);
    this.finished = true;
    const { buffer, view, blockLen, isLE } = this;
    let { pos } = this;
    buffer[pos++] = 128;
    clean(this.buffer.subarray(pos));
    if (this.padOffset > blockLen - pos) {
      this.process(view, 0);
      pos = 0;
    }
    for (let i = pos; i < blockLen; i++)
      buffer[i] = 0;
    view.setBigUint64(blockLen - 8, BigInt(this.length * 8), isLE);
    this.process(view, 0);
    const oview = createView(out);
    const len = this.outputLen;
    if (len % 4)
      throw new Error("_sha2: outputLen must be aligned to 32bit");
    const outLen = len / 4;
    const state = this.get();
    if (outLen > state.length)
      throw new Error("_sha2: outputLen bigger than state");
    for (let i = 0; i < outLen; i++)
      oview.setUint32(4 * i, state[i], isLE);
  }
  digest() {
    const { buffer, outputLen } = this;
    this.digestInto(buffer);
    const res = buffer.slice(0, outputLen);
    this.destroy();
    return res;
  }
  _cloneInto(to) {
    to ||= new this.constructor();
    to.set(...this.get());
    const { blockLen, buffer, length, finished, destroyed, pos } = this;
    to.destroyed = destroyed;
    to.finished = finished;
    to.length = length;
    to.pos = pos;
    if (length % blockLen)
      to.buffer.set(buffer);
    return to;
  }
  clone() {
    return this._cloneInto();
  }
};

// ../../tests/browser/node_modules/@noble/hashes/legacy.js
var SHA1_IV = /* @__PURE__ */ Uint32Array.from([
  1732584193,
  4023233417,
  2562383102,
  271733878,
  3285377520
]);
var SHA1_W = /* @__PURE__ */ new Uint32Array(80);
var _SHA1 = class extends HashMD {
  A = SHA1_IV[0] | 0;
  B = SHA1_IV[1] | 0;
  C = SHA1_IV[2] | 0;
  D = SHA1_IV[3] | 0;
  E = SHA1_IV[4] | 0;
  constructor() {
    super(64, 20, 8, false);
  }
  get() {
    const { A, B, C, D, E } = this;
    return [A, B, C, D, E];
  }
  set(A, B, C, D, E) {
    this.A = A | 0;
    this.B = B | 0;
    this.C = C | 0;
    this.D = D | 0;
    this.E = E | 0;
  }
  process(view, offset) {
    for (let i = 0; i < 16; i++, offset += 4)
      SHA1_W[i] = view.getUint32(offset, false);
    for (let i = 16; i < 80; i++)
      SHA1_W[i] = rotl(SHA1_W[i - 3] ^ SHA1_W[i - 8] ^ SHA1_W[i - 14] ^ SHA1_W[i - 16], 1);
    let { A, B, C, D, E } = this;
    for (let i = 0; i < 80; i++) {
      let F, K;
      if (i < 20) {
        F = Chi(B, C, D);
        K = 1518500249;
      } else if (i < 40) {
        F = B ^ C ^ D;
        K = 1859775393;
      } else if (i < 60) {
        F = Maj(B, C, D);
        K = 2400959708;
      } else {
        F = B ^ C ^ D;
        K = 3395469782;
      }
      const T = rotl(A, 5) + F + E + K + SHA1_W[i] | 0;
      E = D;
      D = C;
      C = rotl(B, 30);
      B = A;
      A = T;
    }
    A = A + this.A | 0;
    B = B + this.B | 0;
    C = C + this.C | 0;
    D = D + this.D | 0;
    E = E + this.E | 0;
    this.set(A, B, C, D, E);
  }
  roundClean() {
    clean(SHA1_W);
  }
  destroy() {
    this.destroyed = true;
    this.set(0, 0, 0, 0, 0);
    clean(this.buffer);
  }
};
var sha1 = /* @__PURE__ */ createHasher(() => new _SHA1());

// src/signer.js
var KEY_PREFIX = "itsdangerous.Signersigner";
var utf8 = (text) => new TextEncoder().encode(text);
function base64url(bytes) {
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
function bigEndian(seconds) {
  const bytes = [];
  for (let rest = seconds; rest > 0; rest = Math.floor(rest / 256)) {
    bytes.unshift(rest % 256);
  }
  return bytes;
}
var ChannelStreamSigner = class {
  /** @param {string} secret the server's `secret` */
  constructor(secret) {
    this.secret = secret;
  }
  /**
   * Makes a token for one request. It is valid for 60 seconds.
   *
   * @returns {string}
   */
  signRequest() {
    return this.sign("channelstream");
  }
  /**
   * Makes a token for any value and time. The server does not compare the value with the address of the request.
   *
   * @param {string} value
   * @param {number} [seconds] Unix time in whole seconds, by default the current time
   * @returns {string} `value.timestamp.mac`
   */
  sign(value, seconds = Math.floor(Date.now() / 1e3)) {
    const signed = `${value}.${base64url(bigEndian(seconds))}`;
    const key = sha1(utf8(KEY_PREFIX + this.secret));
    return `${signed}.${base64url(hmac(sha1, key, utf8(signed)))}`;
  }
};
export {
  ChannelStreamChannel,
  ChannelStreamConnection,
  ChannelStreamError,
  ChannelStreamRequest,
  ChannelStreamSigner,
  Emitter
};
