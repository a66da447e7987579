/** Stand-ins for the browser's XMLHttpRequest and WebSocket, driven by the test. */
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

    constructor(url) {
        this.url = url;
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

    drop(code) {
        this.readyState = 3;
        this.onclose?.({ type: 'close', code });
    }
}

const last = (list) => list[list.length - 1];

export const lastRequest = () => last(FakeRequest.sent);
export const lastSocket = () => last(FakeSocket.opened);

/** Installs the fakes and a clock that only `mock.timers.tick` moves; Math.random gives its upper end. */
export function install() {
    FakeRequest.sent = [];
    FakeSocket.opened = [];
    globalThis.XMLHttpRequest = FakeRequest;
    globalThis.WebSocket = FakeSocket;
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
    mock.method(Math, 'random', () => 0.999999);
}

export function uninstall() {
    mock.timers.reset();
    mock.restoreAll();
    delete globalThis.XMLHttpRequest;
    delete globalThis.WebSocket;
}

/** A connection that writes down the callbacks it got in `calls` and the messages in `messages`. */
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

/** Connects with id `first`; the socket or poll is then the last of its kind. */
export function connected(settings = {}, id = 'first') {
    const made = connection(settings);
    made.connect();
    lastRequest().answer(200, { conn_id: id, channels: ['demo'] });
    return made;
}
