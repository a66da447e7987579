/** Fakes of the browser objects that the library uses. Tests control them. */
import { mock } from 'node:test';

import { ChannelStreamConnection } from '../../../static/channelstream/src/index.js';

export class FakeRequest {
    static sent = [];

    readyState = 0;
    status = 0;
    responseText = '';
    headers = {};
    aborted = false;

    open(verb, url) {
        Object.assign(this, { verb, url, readyState: 1 });
        this.onreadystatechange?.();
    }

    setRequestHeader(name, value) {
        if (this.readyState !== 1) {
            throw new Error('InvalidStateError: a header before open()');
        }
        this.headers[name] = value;
    }

    getAllResponseHeaders() {
        return this.responseHeaders ?? '';
    }

    send(body) {
        this.body = body === null ? null : JSON.parse(body);
        FakeRequest.sent.push(this);
    }

    abort() {
        this.aborted = true;
    }

    answer(status, data) {
        const responseText = typeof data === 'string' ? data : JSON.stringify(data);
        Object.assign(this, { readyState: 4, status, responseText });
        this.onreadystatechange?.();
    }

    fail() {
        this.answer(0, '');
    }
}

export class FakeSocket {
    static opened = [];

    readyState = 0;
    sent = [];

    constructor(url, protocols = []) {
        this.url = url;
        this.protocols = protocols;
        FakeSocket.opened.push(this);
    }

    send(text) {
        this.sent.push(text);
    }

    close() {
        this.readyState = 3;
    }

    accept() {
        this.readyState = 1;
        this.onopen?.({ type: 'open' });
    }

    frame(list) {
        this.onmessage?.({ type: 'message', data: JSON.stringify(list) });
    }

    drop(code, reason = '') {
        this.readyState = 3;
        this.onclose?.({ type: 'close', code, reason });
    }
}

/** Tests install it themselves, because the library uses event streams wherever the browser has them. */
export class FakeEventSource {
    static opened = [];

    readyState = 0;
    listeners = {};
    lastEventId = '';

    constructor(url) {
        this.url = url;
        FakeEventSource.opened.push(this);
    }

    addEventListener(name, listener) {
        this.listeners[name] = listener;
    }

    close() {
        this.readyState = 2;
    }

    accept() {
        this.readyState = 1;
        this.onopen?.({ type: 'open' });
    }

    /** An event with the id that the browser has seen last. */
    event(name, data, id) {
        if (this.readyState === 2) {
            return;
        }
        this.lastEventId = id ?? this.lastEventId;
        this.listeners[name]?.({ type: name, data: JSON.stringify(data), lastEventId: this.lastEventId });
    }

    frame(frame, id) {
        this.event('message', [frame], id);
    }

    /** The stream ends, and the browser would connect again. */
    drop() {
        if (this.readyState !== 2) {
            this.readyState = 0;
            this.onerror?.({ type: 'error' });
        }
    }

    /** The answer is not an event stream, and the browser gives up. */
    refuse() {
        this.readyState = 2;
        this.onerror?.({ type: 'error' });
    }
}

/** The page and its window, with the events that the library uses. */
class FakePage {
    window = new EventTarget();
    document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
    beacons = [];
    navigator = { onLine: true, sendBeacon: (url, body) => this.beacons.push([url, JSON.parse(body)]) };

    install() {
        const globals = {
            document: this.document,
            navigator: this.navigator,
            addEventListener: this.window.addEventListener.bind(this.window),
            removeEventListener: this.window.removeEventListener.bind(this.window),
        };
        for (const [name, value] of Object.entries(globals)) {
            Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
        }
        this.uninstall = () => Object.keys(globals).forEach((name) => delete globalThis[name]);
    }

    look(visibilityState) {
        this.document.visibilityState = visibilityState;
        this.document.dispatchEvent(new Event('visibilitychange'));
    }

    freeze() {
        this.document.dispatchEvent(new Event('freeze'));
    }

    wake() {
        this.document.dispatchEvent(new Event('resume'));
    }

    network(onLine) {
        this.navigator.onLine = onLine;
        this.window.dispatchEvent(new Event(onLine ? 'online' : 'offline'));
    }

    hide({ persisted }) {
        this.window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted }));
    }

    show() {
        this.window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
    }
}

const last = (list) => list[list.length - 1];

export const lastRequest = () => last(FakeRequest.sent);
export const lastSocket = () => last(FakeSocket.opened);
export const lastStream = () => last(FakeEventSource.opened);

/** @type {FakePage} the page of the running test */
export let page;

/** Messages of the errors that code of the page threw. */
export let thrown;

/** Installs the fakes, a clock that only `mock.timers.tick` advances, and a Math.random that returns nearly 1. */
export function install() {
    FakeRequest.sent = [];
    FakeSocket.opened = [];
    FakeEventSource.opened = [];
    thrown = [];
    page = new FakePage();
    page.install();
    globalThis.reportError = (error) => thrown.push(error.message);
    globalThis.XMLHttpRequest = FakeRequest;
    globalThis.WebSocket = FakeSocket;
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_700_000_000_000 });
    mock.method(Math, 'random', () => 0.999999);
}

export function uninstall() {
    mock.timers.reset();
    mock.restoreAll();
    page.uninstall();
    delete globalThis.reportError;
    delete globalThis.XMLHttpRequest;
    delete globalThis.WebSocket;
    delete globalThis.EventSource;
}

/** Waits until the handlers of settled promises have run. */
export const settled = () => new Promise(setImmediate);

/** Records each event with one of these names, as [name, detail]. */
export function record(emitter, ...names) {
    const events = [];
    names.forEach((name) => emitter.on(name, (detail) => events.push([name, detail])));
    return events;
}

/** A connection that records its callbacks in `calls` and its messages in `messages`. */
export function connection(settings = {}) {
    const made = Object.assign(new ChannelStreamConnection(), {
        username: 'ada',
        channels: ['demo'],
        connectUrl: '/app/connect',
        websocketUrl: 'ws://server/ws',
        longPollUrl: '//server/listen',
        disconnectUrl: '//server/disconnect?via=app',
        ...settings,
    });
    made.calls = [];
    made.messages = [];
    const names = ['connect', 'connectError', 'listenOpened', 'listenClose', 'listenError', 'connectionClosed'];
    for (const name of names) {
        made[`${name}Callback`] = () => made.calls.push(name);
    }
    made.listenMessageCallback = (list) => made.messages.push(...list);
    return made;
}

/** Connects with the id `first`. The socket or poll is then the last one of its kind. */
export function connected(settings = {}, id = 'first') {
    const made = connection(settings);
    made.connect();
    lastRequest().answer(200, { conn_id: id, channels: ['demo'] });
    return made;
}
