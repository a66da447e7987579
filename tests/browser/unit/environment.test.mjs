/** The library without parts of a browser, as in workers, extensions and Node, with a real HTTP server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { ChannelStreamConnection, ChannelStreamRequest } from '../../../static/channelstream/src/index.js';
import { record } from '../support/fakes.mjs';

const FRAME = { type: 'message', uuid: 'a', channel: 'demo', user: 'bob', message: { text: 'hello' } };

/** An application and a server in one: the response of each path. Tests change it. */
let http;
let base;
let answers;
let asked;
const held = new Set();

before(async () => {
    http = createServer((request, response) => {
        const [, test, path] = /^\/(\d+)(\/\w+)/.exec(request.url);
        request.resume();
        if (Number(test) === tests) {
            asked.push(`${request.method} ${path}`);
            answers[path](response, request);
        } else {
            // A late request of a test that has ended.
            response.destroy();
        }
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
});
after(() => http.close());

let made = [];
let tests = 0;

beforeEach(() => {
    tests += 1;
    base = `http://127.0.0.1:${http.address().port}/${tests}`;
    asked = [];
    let polls = 0;
    answers = {
        '/connect': (response) => response.end(JSON.stringify({ conn_id: 'first', channels: ['demo'] })),
        '/listen': (response) => {
            polls += 1;
            return polls === 1 ? response.end(JSON.stringify([FRAME])) : held.add(response);
        },
        '/message': (response, request) => {
            response.setHeader('X-Type', request.headers['content-type'] ?? '');
            response.end('{"sent": true}');
        },
        '/refused': (response) => response.writeHead(503, { 'Retry-After': '7' }).end('<html>busy</html>'),
        '/held': (response) => held.add(response),
        '/cut': (response) => response.writeHead(200, { 'Content-Length': 100 }).write('{', () => response.destroy()),
    };
});

afterEach(() => {
    made.forEach((connection) => connection.closeConnection());
    made = [];
    held.forEach((response) => response.destroy());
    held.clear();
});

function connection(options = {}) {
    const one = new ChannelStreamConnection({
        connectUrl: `${base}/connect`, messageUrl: `${base}/message`, websocketUrl: 'ws://127.0.0.1:1/ws',
        longPollUrl: `${base}/listen`, channels: ['demo'], increaseBounceIv: 5, ...options,
    });
    made.push(one);
    return one;
}

async function until(condition, what) {
    for (let turn = 0; turn < 1_000; turn += 1) {
        if (condition()) {
            return;
        }
        await pause(5);
    }
    assert.fail(what);
}

/** Removes these globals until the test has ended. */
function without(context, ...names) {
    for (const name of names) {
        const before = Object.getOwnPropertyDescriptor(globalThis, name);
        if (before) {
            delete globalThis[name];
            context.after(() => Object.defineProperty(globalThis, name, before));
        }
    }
}

const OPTIONAL = [
    'XMLHttpRequest', 'WebSocket', 'document', 'location', 'localStorage', 'sessionStorage', 'navigator', 'crypto',
    'reportError', 'addEventListener', 'removeEventListener', 'console',
];

for (const missing of [...OPTIONAL.map((name) => [name]), OPTIONAL.filter((name) => name !== 'console')]) {
    test(`without ${missing.length > 1 ? 'all of them' : missing[0]} a failed connect is repeated, and frames arrive`, async (context) => {
        without(context, ...missing);
        const good = answers['/connect'];
        answers['/connect'] = (response) => {
            answers['/connect'] = good;
            response.writeHead(500).end('<html>no</html>');
        };
        const one = connection();
        const events = record(one, 'error', 'retry', 'message');
        one.connect();
        await one.ready(8_000);
        await until(() => events.some(([name]) => name === 'message'), 'a frame');
        assert.deepEqual(events.map(([name]) => name), ['retry', 'error', 'message']);
        assert.deepEqual([events[1][1].code, events[1][1].status, events[2][1]], ['refused', 500, FRAME]);
        assert.equal(one.state, 'connected');
        assert.deepEqual(await one.message({ channel: 'demo' }), { sent: true });
    });
}

test('without XMLHttpRequest and fetch, calls fail like calls without a response, and are repeated', async (context) => {
    without(context, 'XMLHttpRequest', 'fetch');
    const one = connection();
    const events = record(one, 'error', 'retry');
    const handlers = [];
    one.connectErrorCallback = (request) => handlers.push(request.status);
    one.messageErrorCallback = (request) => handlers.push(request.status);
    one.connect();
    await assert.rejects(one.message({}), { code: 'network', operation: 'message' });
    await until(() => events.filter(([name]) => name === 'retry').length > 2, 'more attempts');
    assert.ok(handlers.every((status) => status === 0) && handlers.length > 2, 'each handler received a request');
    assert.equal(one.state, 'connecting');
    one.connectionId = 'first';
    one.openLongPoll();
    await until(() => events.filter(([name]) => name === 'retry').length > 4, 'polls as well');
});

test('without shouldReconnect such a connect fails permanently', async (context) => {
    without(context, 'XMLHttpRequest', 'fetch');
    const one = connection({ shouldReconnect: false });
    await assert.rejects(one.connect(), { code: 'closed' });
    assert.equal(one.state, 'disconnected');
});

test('an XMLHttpRequest that throws counts as missing', async (context) => {
    without(context, 'XMLHttpRequest');
    globalThis.XMLHttpRequest = class { constructor() { throw new Error('not here'); } };
    context.after(() => delete globalThis.XMLHttpRequest);
    assert.deepEqual(await connection().message({}), { sent: true });
});

/** Sends a single request. Returns the calls of its handlers. */
function ask(path, { verb, ...more } = {}) {
    const request = new ChannelStreamRequest();
    Object.assign(request, { url: base + path, ...more });
    const done = new Promise((resolve) => {
        request.handleResponse = (answer, data) => resolve(['response', answer, data, request]);
        request.handleError = (answer, data) => resolve(['error', answer, data, request]);
    });
    request.execute(verb);
    return { request, done };
}

test('callbacks receive an object with the members of XMLHttpRequest', async () => {
    const progress = [];
    const { done } = ask('/message', {
        body: { a: 1 }, headers: [{ name: 'X-Own', value: 'b' }], handleRequest: ({ readyState }) => progress.push(readyState),
    });
    const [ending, answer, data] = await done;
    assert.deepEqual([ending, data, asked], ['response', { sent: true }, ['POST /message']]);
    assert.deepEqual([answer.readyState, answer.status, answer.responseText], [4, 200, '{"sent": true}']);
    assert.equal(answer.getResponseHeader('X-Type'), 'application/json');
    assert.equal(answer.getResponseHeader('X-None'), null);
    assert.match(answer.getAllResponseHeaders(), /^x-type: application\/json\r$/m);
    assert.deepEqual([answer.responseURL, progress], [`${base}/message`, [1, 2]]);
});

test('refusals, broken responses, missing responses and invalid addresses are errors', async () => {
    const [ending, answer, data] = await ask('/refused').done;
    assert.deepEqual([ending, answer.status, data, answer.getResponseHeader('retry-after')], ['error', 503, '<html>busy</html>', '7']);
    for (const url of [`${base}/cut`, 'http://127.0.0.1:1/', 'http://[', '']) {
        const [kind, { status, responseText }] = await ask('', { url }).done;
        assert.deepEqual([kind, status, responseText], ['error', 0, ''], url);
    }
    const [kind, late, , request] = await ask('/held', { timeoutMs: 50 }).done;
    assert.deepEqual([kind, late.status, request.timedOut], ['error', 0, true]);
    const [wrong] = await ask('/message', { body: {}, headers: [{ name: 'no header', value: '\n' }] }).done;
    assert.equal(wrong, 'error');
});

test('an aborted request reports nothing', async () => {
    const { request, done } = ask('/held');
    await until(() => held.size === 1, 'the request arrives');
    request.abort();
    const result = await Promise.race([done, pause(100, 'nothing')]);
    assert.equal(result, 'nothing');
});

test('the client respects the Retry-After header of an overloaded application', async () => {
    answers['/connect'] = answers['/refused'];
    const one = connection();
    const retries = record(one, 'retry');
    one.connect();
    await until(() => retries.length === 1, 'a retry');
    assert.equal(retries[0][1].delayMs, 7_000);
});

test('a handler that closes the connection ends the attempt', async () => {
    const ways = [
        (one) => one.on('state', ({ state }) => state === 'connecting' && one.closeConnection()),
        (one) => { one.mutators.connect = [() => one.closeConnection()]; },
        (one) => { one.beforeListeningCallback = () => one.closeConnection(); },
        (one) => { one.mutators.connect = [() => { one.closeConnection(); throw new Error('and fails'); }]; },
    ];
    for (const [index, way] of ways.entries()) {
        const one = connection();
        const events = record(one, 'open', 'retry');
        way(one);
        const begin = async () => one.connect();
        await begin().catch(() => {});
        await pause(100);
        assert.deepEqual([one.state, one.connected, events], ['disconnected', false, []], `way ${index}`);
    }
    assert.ok(asked.every((path) => path === 'POST /connect'), String(asked));
});

test('an attempt that a listener starts replaces the attempt that emitted the event', async () => {
    const one = connection();
    let begun = false;
    one.on('state', ({ state }) => {
        if (state === 'connecting' && !begun) {
            begun = true;
            one.connect();
        }
    });
    await one.connect();
    assert.equal(asked.filter((path) => path === 'POST /connect').length, 1);
});

test('addresses may be URL objects', async () => {
    const one = connection({
        connectUrl: new URL(`${base}/connect`), longPollUrl: new URL(`${base}/listen`), websocketUrl: new URL('ws://127.0.0.1:1/ws'),
    });
    const frames = record(one, 'message');
    await one.connect();
    await until(() => frames.length > 0, 'a frame');
});

test('a value of channels that is not a list does not block the connection', async () => {
    for (const channels of [{}, 5, null, undefined, new Set(['demo'])]) {
        const one = connection({ channels });
        one.channel('demo');
        await one.connect();
        assert.equal(one.state, 'connected', String(channels));
        one.closeConnection();
    }
});
