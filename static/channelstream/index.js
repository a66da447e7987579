/*! channelstream-browser 1.0.0 | MIT OR Apache-2.0 | made from src/ by "npm run build" in tests/browser */

// src/callbacks.js
var ChannelStreamCallbacks = class {
  /** @type {boolean} print what happens to the console */
  debug = false;
  /** connect() succeeded; listening starts after this. */
  connectCallback(request, data) {
    this._trace("connectCallback", request, data);
  }
  /** connect() failed; it is tried again by itself. */
  connectErrorCallback(request, data) {
    this._trace("connectErrorCallback", request, data);
  }
  /** The answer to disconnect() is there. */
  disconnectCallback(request, data) {
    this._trace("disconnectCallback", request, data);
  }
  /** disconnect() failed; the server will notice by itself that this client is gone. */
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
  /** Just before listening starts, with the answer of connect(). */
  beforeListeningCallback(request, data) {
    this._trace("beforeListeningCallback", request, data);
  }
  /** Listening has started; also after each reconnect. */
  listenOpenedCallback(request, data) {
    this._trace("listenOpenedCallback", request, data);
  }
  /**
   * Messages have come.
   *
   * @param {object[]} messages at least one; heartbeats are not reported
   */
  listenMessageCallback(messages) {
    this._trace("listenMessageCallback", messages);
  }
  /** A websocket or a poll failed; listening is resumed by itself. */
  listenErrorCallback(request, data) {
    this._trace("listenErrorCallback", request, data);
  }
  /** The websocket has closed; unless another socket took over its connection id, it is opened again by itself. */
  listenCloseCallback(request, data) {
    this._trace("listenCloseCallback", request, data);
  }
  /** closeConnection() or disconnect() has ended the listening. */
  connectionClosedCallback() {
    this._trace("connectionClosedCallback");
  }
  _trace(name, ...details) {
    if (this.debug) {
      console.log(name, ...details);
    }
  }
};

// src/request.js
var DEFAULT_TIMEOUT_MS = 12e4;
var parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};
function withParameter(url, name, value) {
  return `${url}${url.includes("?") ? "&" : "?"}${name}=${encodeURIComponent(value)}`;
}
var ChannelStreamRequest = class {
  constructor() {
    this.headers = [];
    this.body = null;
    this.url = "";
    this.timeoutMs = DEFAULT_TIMEOUT_MS;
    this.request = null;
  }
  /**
   * Called when the answer is there and its status is 2xx or 3xx.
   *
   * @param {XMLHttpRequest} request
   * @param {*} data the body, as JSON if it is JSON
   */
  handleResponse(request, data) {
  }
  /**
   * Called on any other status (4xx, 5xx) and, with status 0, when no answer came.
   *
   * @param {XMLHttpRequest} request
   * @param {*} data the body, as JSON if it is JSON
   */
  handleError(request, data) {
  }
  /**
   * Called while the request is under way.
   *
   * @param {XMLHttpRequest} request
   */
  handleRequest(request) {
  }
  /**
   * Sends the request.
   *
   * @param {string} [verb] by default POST with a body and GET without
   */
  execute(verb) {
    const request = new XMLHttpRequest();
    this.request = request;
    request.onreadystatechange = () => this.handleStateChange();
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
  /** Ends the request; none of its handlers is called any more. */
  abort() {
    if (this.request) {
      this.request.onreadystatechange = null;
      this.request.abort();
    }
  }
  handleStateChange() {
    if (this.request.readyState !== 4) {
      this.handleRequest(this.request);
      return;
    }
    const data = parsed(this.request.responseText);
    if (this.request.status >= 200 && this.request.status < 400) {
      this.handleResponse(this.request, data);
    } else {
      this.handleError(this.request, data);
    }
  }
};

// src/backend.js
var ChannelStreamBackend = class extends ChannelStreamCallbacks {
  /** @type {string[]} channels asked for in connect(); afterwards those the server has confirmed */
  channels = [];
  /** @type {string} sent with connect() */
  username = "Anonymous";
  /** @type {?string} given by the server */
  connectionId = null;
  /** @type {string} address that connect() asks for a connection id */
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
  /** Functions that may change requests before they are sent; see addMutator(). */
  mutators = {
    connect: [],
    message: [],
    messageEdit: [],
    messageDelete: [],
    subscribe: [],
    unsubscribe: [],
    disconnect: [],
    userState: []
  };
  /**
   * Adds a function that gets each request of a kind before it is sent and may change its `url`, `body` and
   * `headers`; called in the order of adding.
   *
   * @param {string} type a key of `mutators`
   * @param {function(ChannelStreamRequest): void} func
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
    this._send({
      kind: "userState",
      url: this.userStateUrl,
      body: { username: this.username, conn_id: this.connectionId, update_state: stateObj },
      done: (request, data) => this.setUserStateCallback(request, data),
      failed: (request, data) => this.setUserStateErrorCallback(request, data)
    });
  }
  /**
   * Joins channels, by POST to `subscribeUrl`; without channels nothing is sent.
   *
   * @param {string[]} channels
   */
  subscribe(channels) {
    this._send({
      kind: "subscribe",
      url: this.subscribeUrl,
      body: { channels, conn_id: this.connectionId },
      unless: (request) => !request.body.channels?.length,
      done: (request, data) => {
        this._setChannels(data);
        this.subscribeCallback(request, data);
      },
      failed: (request, data) => this.subscribeErrorCallback(request, data)
    });
  }
  /**
   * Leaves channels, by POST to `unsubscribeUrl`.
   *
   * @param {string[]} channels
   */
  unsubscribe(channels) {
    this._send({
      kind: "unsubscribe",
      url: this.unsubscribeUrl,
      body: { channels, conn_id: this.connectionId },
      done: (request, data) => {
        this._setChannels(data);
        this.unsubscribeCallback(request, data);
      },
      failed: (request, data) => this.unsubscribeErrorCallback(request, data)
    });
  }
  /**
   * @param {string[]} channels
   * @returns {string[]} those not joined yet
   */
  calculateSubscribe(channels) {
    return channels.filter((channel) => !this.channels.includes(channel));
  }
  /**
   * @param {string[]} [channels]
   * @returns {string[]} those joined
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
    this._send({
      kind: "message",
      url: this.messageUrl,
      body: message,
      done: (request, data) => this.messageCallback(request, data),
      failed: (request, data) => this.messageErrorCallback(request, data)
    });
  }
  /**
   * Changes a message that was sent, by PATCH to `messageEditUrl`.
   *
   * @param {object|object[]} message with its `uuid`
   */
  edit(message) {
    this._send({
      kind: "messageEdit",
      url: this.messageEditUrl,
      verb: "PATCH",
      body: message,
      done: (request, data) => this.messageEditCallback(request, data),
      failed: (request, data) => this.messageEditErrorCallback(request, data)
    });
  }
  /**
   * Takes a message back, by DELETE to `messageDeleteUrl`.
   *
   * @param {object|object[]} message with its `uuid`
   */
  delete(message) {
    this._send({
      kind: "messageDelete",
      url: this.messageDeleteUrl,
      verb: "DELETE",
      body: message,
      done: (request, data) => this.messageDeleteCallback(request, data),
      failed: (request, data) => this.messageDeleteErrorCallback(request, data)
    });
  }
  _send({ kind, url, verb = "POST", body, timeoutMs, unless, done, failed }) {
    const request = new ChannelStreamRequest();
    request.url = url;
    request.body = body;
    request.timeoutMs = timeoutMs ?? request.timeoutMs;
    for (const mutate of this.mutators[kind]) {
      mutate(request);
    }
    request.handleResponse = done;
    request.handleError = failed;
    if (!unless?.(request)) {
      request.execute(verb);
    }
    return request;
  }
  _setChannels(data) {
    if (Array.isArray(data?.channels)) {
      this.channels = data.channels;
      this.channelsChangedCallback(this.channels);
    }
  }
};

// src/backoff.js
var Backoff = class {
  /**
   * @param {object} [options]
   * @param {number} [options.capMs] the bound never grows beyond this
   * @param {function(): number} [options.random] from 0 to below 1
   */
  constructor({ capMs = 6e4, random = Math.random } = {}) {
    this.capMs = capMs;
    this.random = random;
    this.failures = 0;
  }
  /**
   * The wait after one more failure.
   *
   * @param {number} baseMs the bound after the first failure
   * @returns {number} milliseconds
   */
  next(baseMs) {
    const boundMs = Math.min(this.capMs, baseMs * 2 ** this.failures);
    this.failures += 1;
    return this.random() * boundMs;
  }
  /** To be called once the other side is known to work, not when it merely accepted a connection. */
  reset() {
    this.failures = 0;
  }
};

// src/longpoll.js
var HASTY_MS = 1e3;
var LongPollListener = class {
  /**
   * @param {string} url
   * @param {object} events
   * @param {object} options
   * @param {boolean} options.trusted whether the id was given out a moment ago, so that listening may be announced
   *     with the first poll; otherwise it waits for the first answer
   */
  constructor(url, events, { trusted }) {
    this.url = url;
    this.events = events;
    this.announceEarly = trusted;
    this.answered = false;
    this.announced = false;
    this.finished = false;
    this.timer = null;
    this.poll = null;
  }
  open() {
    const poll = new ChannelStreamRequest();
    const sentAt = Date.now();
    poll.url = this.url;
    poll.handleResponse = (request, data) => this.onAnswer(request, data, Date.now() - sentAt);
    poll.handleError = (request, data) => this.end(request, data, request.status);
    poll.execute("GET");
    this.poll = poll;
    if (this.announceEarly) {
      this.announce(poll.request);
    }
  }
  /** Ends the running poll without any report. */
  close() {
    this.finished = true;
    clearTimeout(this.timer);
    if (this.poll) {
      this.poll.abort();
    }
  }
  announce(request) {
    if (!this.announced) {
      this.announced = true;
      this.events.opened(request);
    }
  }
  onAnswer(request, list, tookMs) {
    if (this.finished) {
      return;
    }
    if (!Array.isArray(list)) {
      this.end(request, list, 0);
      return;
    }
    this.answered = true;
    this.events.alive();
    this.announce(request);
    const hasty = list.length === 0 && tookMs < HASTY_MS;
    this.timer = setTimeout(() => this.open(), hasty ? HASTY_MS * (0.5 + Math.random()) : 0);
    if (list.length > 0 && !this.finished) {
      this.events.messages(list);
    }
  }
  end(request, data, status) {
    if (this.finished) {
      return;
    }
    this.close();
    this.events.ended(request, data, { status, answered: this.answered });
  }
};

// src/reconnect.js
var TAKEN_OVER = 4001;
var GRACE_MS = 3e4;
var MUTE_SOCKETS = 3;
function afterWebSocket({ code, opened, spoke, resumed, lostForMs, muteSockets }) {
  if (code === TAKEN_OVER) {
    return { action: "stop", now: true };
  }
  if (!opened && !resumed) {
    return { action: "longPoll", now: true };
  }
  if (opened && !spoke && code === 1e3) {
    return { action: "connect", now: resumed };
  }
  if (muteSockets >= MUTE_SOCKETS) {
    return { action: "longPoll", now: true };
  }
  return { action: lostForMs > GRACE_MS ? "connect" : "resume", now: false };
}
function afterLongPoll({ status, resumed, lostForMs }) {
  const refused = status >= 400 && status < 500 && ![408, 425, 429].includes(status);
  if (refused) {
    return { action: "connect", now: resumed };
  }
  return { action: lostForMs > GRACE_MS ? "connect" : "resume", now: false };
}

// src/websocket.js
var HEARTBEAT_MS = 1e4;
var OPENING_LIMIT_MS = 1e4;
var PROVEN_AFTER_MS = 5e3;
var SILENCE_MS = 3e4;
var WebSocketListener = class {
  /**
   * @param {string} url
   * @param {object} events
   */
  constructor(url, events) {
    this.url = url;
    this.events = events;
    this.socket = null;
    this.opened = false;
    this.spoke = false;
    this.finished = false;
    this.timers = {};
    this.lastHeartbeatAt = null;
    this.longestPauseMs = null;
  }
  open() {
    try {
      this.socket = new WebSocket(this.url);
    } catch (error) {
      this.timers.opening = setTimeout(() => this.end(error, 1006), 0);
      return;
    }
    this.timers.opening = setTimeout(() => this.end({ type: "timeout" }, 1006), OPENING_LIMIT_MS);
    this.socket.onopen = (event) => this.onOpen(event);
    this.socket.onmessage = (event) => this.onMessage(event);
    this.socket.onerror = (event) => this.events.error(event);
    this.socket.onclose = (event) => this.end(event, event.code);
  }
  /** Tells the server every ten seconds that this end is still there. */
  startHeartbeats() {
    clearInterval(this.timers.heartbeat);
    this.timers.heartbeat = setInterval(() => {
      if (this.socket.readyState === 1) {
        this.socket.send(JSON.stringify({ type: "heartbeat" }));
      }
    }, HEARTBEAT_MS);
  }
  /** Closes without any report. */
  close() {
    this.finish();
    if (this.socket) {
      this.socket.close();
    }
  }
  onOpen(event) {
    clearTimeout(this.timers.opening);
    this.opened = true;
    this.timers.proven = setTimeout(() => this.events.alive(), PROVEN_AFTER_MS);
    this.events.opened(event);
  }
  onMessage(event) {
    if (!this.spoke) {
      this.spoke = true;
      clearTimeout(this.timers.proven);
      this.events.alive();
    }
    let list;
    try {
      list = JSON.parse(event.data);
    } catch {
      this.events.error(event);
      return;
    }
    if (Array.isArray(list) && list.length === 0) {
      this.learnPause();
    }
    this.watchSilence();
    if (Array.isArray(list) && list.length > 0) {
      this.events.messages(list);
    }
  }
  /** How often heartbeats come is a setting of the server, and old servers may send none at all. */
  learnPause() {
    const now = Date.now();
    if (this.lastHeartbeatAt !== null) {
      this.longestPauseMs = Math.max(this.longestPauseMs ?? 0, now - this.lastHeartbeatAt);
    }
    this.lastHeartbeatAt = now;
  }
  watchSilence() {
    if (this.longestPauseMs === null || this.finished) {
      return;
    }
    clearTimeout(this.timers.silence);
    const limitMs = Math.max(SILENCE_MS, 3 * this.longestPauseMs);
    this.timers.silence = setTimeout(() => this.end({ type: "silence" }, 1006), limitMs);
  }
  end(event, code) {
    if (this.finished) {
      return;
    }
    const { opened, spoke } = this;
    this.close();
    this.events.ended(event, { code, opened, spoke });
  }
  finish() {
    this.finished = true;
    clearTimeout(this.timers.opening);
    clearTimeout(this.timers.proven);
    clearTimeout(this.timers.silence);
    clearInterval(this.timers.heartbeat);
    if (this.socket) {
      this.socket.onopen = null;
      this.socket.onmessage = null;
      this.socket.onerror = null;
      this.socket.onclose = null;
    }
  }
};

// src/connection.js
var WEBSOCKET_RETRY_MS = 3e5;
var CONNECT_TIMEOUT_MS = 3e4;
var ChannelStreamConnection = class extends ChannelStreamBackend {
  /** @returns {string} the version of this library */
  static get version() {
    return "1.0.0";
  }
  /** @type {string} the server's websocket, ws: or wss: */
  websocketUrl = "";
  /** @type {string} the server's long-polling */
  longPollUrl = "";
  /** @type {string} where disconnect() tells the server */
  disconnectUrl = "";
  /** @type {?WebSocket} the socket in use */
  websocket = null;
  /** @type {boolean} whether to come back after a failure */
  shouldReconnect = true;
  /** @type {boolean} whether to send heartbeats on the websocket */
  heartbeats = true;
  /** @type {number} bound of the first wait before a reconnect, in milliseconds; it doubles up to a minute */
  increaseBounceIv = 2e3;
  /** @type {boolean} whether to use long-polling only */
  noWebsocket = false;
  /** @type {boolean} whether the connection is listening */
  connected = false;
  _backoff = new Backoff();
  _listener = null;
  _connecting = null;
  /** Counts ends, so that a callback that ends the connection is noticed. */
  _turn = 0;
  _retryTimer = null;
  _lostAt = null;
  _muteSockets = 0;
  /** Long-polling instead of websocket until then; Infinity while it has yet to show that it does better. */
  _longPollUntil = 0;
  /** Asks the web application for a connection id and starts to listen. */
  connect() {
    this._stop();
    this._connecting = this._send({
      kind: "connect",
      url: this.connectUrl,
      body: { username: this.username, channels: this.channels },
      timeoutMs: CONNECT_TIMEOUT_MS,
      done: (request, data) => this._onConnected(request, data),
      failed: (request, data) => this._onConnectFailed(request, data)
    });
  }
  /** Stops listening and tells the server at `disconnectUrl` to forget the connection. */
  disconnect() {
    this._send({
      kind: "disconnect",
      url: withParameter(this.disconnectUrl, "conn_id", this.connectionId),
      body: { conn_id: this.connectionId },
      done: (request, data) => this.disconnectCallback(request, data),
      failed: (request, data) => this.disconnectErrorCallback(request, data)
    });
    this.closeConnection();
  }
  /** Stops listening and does not come back until connect() is called. */
  closeConnection() {
    this._stop();
    this.connectionClosedCallback();
  }
  /** Starts to listen with `connectionId`, after beforeListeningCallback. */
  startListening(request, data) {
    this.beforeListeningCallback(request, data);
    this._listen({ resumed: false });
  }
  /** Listens over a websocket with `connectionId`. */
  openWebsocket() {
    this._openWebsocket({ resumed: false });
  }
  /** Listens over long-polling with `connectionId`. */
  openLongPoll() {
    this._openLongPoll({ resumed: false });
  }
  /** Sends heartbeats on the open websocket unless `heartbeats` is off; listening calls this by itself. */
  createHeartBeats() {
    if (this.heartbeats && this._listener instanceof WebSocketListener) {
      this._listener.startHeartbeats();
    }
  }
  /** Calls connect() after the next wait of the back-off, if `shouldReconnect` is set. */
  retryConnection() {
    this._later(() => this.connect());
  }
  _onConnected(request, data) {
    this._connecting = null;
    if (!data?.conn_id) {
      this._onConnectFailed(request, data);
      return;
    }
    this.connectionId = data.conn_id;
    this._lostAt = null;
    this._setChannels(data);
    const turn = this._turn;
    this.connectCallback(request, data);
    if (turn === this._turn) {
      this.startListening(request, data);
    }
  }
  _onConnectFailed(request, data) {
    this._connecting = null;
    this.retryConnection();
    this.connectErrorCallback(request, data);
  }
  _listen({ resumed }) {
    const longPoll = this.noWebsocket || !globalThis.WebSocket || Date.now() < this._longPollUntil;
    const open = longPoll ? this._openLongPoll : this._openWebsocket;
    open.call(this, { resumed });
  }
  _openWebsocket({ resumed }) {
    this._stop();
    const url = withParameter(this.websocketUrl, "conn_id", this.connectionId);
    this._listener = new WebSocketListener(url, {
      opened: (event) => this._onOpened(event),
      alive: () => this._onAlive(),
      messages: (list) => this.listenMessageCallback(list),
      error: (event) => this.listenErrorCallback(event),
      ended: (event, end) => this._onWebsocketEnded(event, { ...end, resumed })
    });
    this._listener.open();
    this.websocket = this._listener.socket;
  }
  _openLongPoll({ resumed }) {
    this._stop();
    const url = withParameter(this.longPollUrl, "conn_id", this.connectionId);
    const events = {
      opened: (request) => this._onOpened(request),
      alive: () => this._onAlive(),
      messages: (list) => this.listenMessageCallback(list),
      ended: (request, data, end) => this._onLongPollEnded(request, data, { ...end, resumed })
    };
    this._listener = new LongPollListener(url, events, { trusted: !resumed });
    this._listener.open();
  }
  _onOpened(request) {
    this.connected = true;
    this.createHeartBeats();
    this.listenOpenedCallback(request);
  }
  /** Only now may the waits start anew: a socket that opens and closes at once must not be hammered. */
  _onAlive() {
    this._backoff.reset();
    this._lostAt = null;
    this._muteSockets = 0;
    if (this._longPollUntil === Infinity) {
      this._longPollUntil = Date.now() + WEBSOCKET_RETRY_MS;
    }
  }
  _onWebsocketEnded(event, end) {
    this._muteSockets = end.opened && !end.spoke ? this._muteSockets + 1 : this._muteSockets;
    const step = afterWebSocket({ ...end, lostForMs: this._lost(), muteSockets: this._muteSockets });
    this._follow(step);
    this.listenCloseCallback(event);
  }
  _onLongPollEnded(request, data, end) {
    const lostForMs = this._lost();
    if (this._longPollUntil === Infinity) {
      this._longPollUntil = 0;
    }
    const step = afterLongPoll({ status: end.status, resumed: end.resumed || end.answered, lostForMs });
    this._follow(step);
    this.listenErrorCallback(request, data);
  }
  /** @returns {number} milliseconds since the server was last known to listen to this connection */
  _lost() {
    this.connected = false;
    this._listener = null;
    this._lostAt ??= Date.now();
    return Date.now() - this._lostAt;
  }
  _follow({ action, now }) {
    if (!this.shouldReconnect || action === "stop") {
      return;
    }
    if (action === "longPoll") {
      this._longPollUntil = Infinity;
    }
    const step = {
      connect: () => this.connect(),
      resume: () => this._listen({ resumed: true }),
      longPoll: () => this._openLongPoll({ resumed: false })
    }[action];
    this._later(step, now ? 0 : void 0);
  }
  _later(step, waitMs) {
    if (!this.shouldReconnect) {
      return;
    }
    clearTimeout(this._retryTimer);
    this._retryTimer = setTimeout(step, waitMs ?? this._backoff.next(this.increaseBounceIv));
  }
  /** Ends everything under way, without a report: at any time there is one attempt or one listener, never two. */
  _stop() {
    this._turn += 1;
    clearTimeout(this._retryTimer);
    this._connecting?.abort();
    this._connecting = null;
    this._listener?.close();
    this._listener = null;
    this.websocket = null;
    this.connected = false;
  }
};

// src/sha1.js
var BLOCK_BYTES = 64;
var rotateLeft = (word, bits) => word << bits | word >>> 32 - bits;
function pad(bytes) {
  const blocks = Math.ceil((bytes.length + 9) / BLOCK_BYTES);
  const padded = new Uint8Array(blocks * BLOCK_BYTES);
  padded.set(bytes);
  padded[bytes.length] = 128;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 536870912));
  view.setUint32(padded.length - 4, bytes.length << 3 >>> 0);
  return view;
}
function round(step, b, c, d) {
  if (step < 20) {
    return (b & c | ~b & d) + 1518500249;
  }
  if (step < 40) {
    return (b ^ c ^ d) + 1859775393;
  }
  if (step < 60) {
    return (b & c | b & d | c & d) + 2400959708;
  }
  return (b ^ c ^ d) + 3395469782;
}
function compress(state, words) {
  let [a, b, c, d, e] = state;
  for (let step = 0; step < 80; step += 1) {
    if (step >= 16) {
      words[step] = rotateLeft(words[step - 3] ^ words[step - 8] ^ words[step - 14] ^ words[step - 16], 1);
    }
    const next = rotateLeft(a, 5) + round(step, b, c, d) + e + words[step] | 0;
    [e, d, c, b, a] = [d, c, rotateLeft(b, 30), a, next];
  }
  [a, b, c, d, e].forEach((word, index) => {
    state[index] = state[index] + word | 0;
  });
}
function sha1(bytes) {
  const state = Int32Array.of(1732584193, 4023233417, 2562383102, 271733878, 3285377520);
  const words = new Int32Array(80);
  const view = pad(bytes);
  for (let start = 0; start < view.byteLength; start += BLOCK_BYTES) {
    for (let index = 0; index < 16; index += 1) {
      words[index] = view.getInt32(start + index * 4);
    }
    compress(state, words);
  }
  const digest = new DataView(new ArrayBuffer(20));
  state.forEach((word, index) => digest.setInt32(index * 4, word));
  return new Uint8Array(digest.buffer);
}
function concat(first, second) {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
function hmacSha1(key, bytes) {
  const block = new Uint8Array(BLOCK_BYTES);
  block.set(key.length > BLOCK_BYTES ? sha1(key) : key);
  const inner = sha1(concat(block.map((byte) => byte ^ 54), bytes));
  return sha1(concat(block.map((byte) => byte ^ 92), inner));
}

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
   * A token for one request, good for 60 seconds.
   *
   * @returns {string}
   */
  signRequest() {
    return this.sign("channelstream");
  }
  /**
   * The token for any value and time. The server does not compare the value with the address of the request.
   *
   * @param {string} value
   * @param {number} [seconds] Unix time in whole seconds, by default now
   * @returns {string} `value.timestamp.mac`
   */
  sign(value, seconds = Math.floor(Date.now() / 1e3)) {
    const signed = `${value}.${base64url(bigEndian(seconds))}`;
    const key = sha1(utf8(KEY_PREFIX + this.secret));
    return `${signed}.${base64url(hmacSha1(key, utf8(signed)))}`;
  }
};
export {
  ChannelStreamConnection,
  ChannelStreamRequest,
  ChannelStreamSigner
};
