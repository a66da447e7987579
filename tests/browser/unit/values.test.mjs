/** Unexpected names and values in responses, in frames and from the application. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import {
    connected, connection, install, lastRequest, lastSocket, record, settled, thrown, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', ''];
const VALUES = [null, true, 0, 7, 'text', [], {}, [null], [[]], [7], ['__proto__'], { length: 1 }, { users: 1 }];
const shown = (value) => JSON.stringify(value);

/** JSON with this value under this name. An object literal would set the prototype. */
const json = (name, value) => `{${shown(name)}: ${shown(value)}}`;

function listening(settings) {
    const made = connected({ infoUrl: '/info', subscribeUrl: '/subscribe', unsubscribeUrl: '/unsubscribe', ...settings });
    lastSocket().accept();
    return made;
}

/** Asserts that the connection still works: frames reach page and channel. */
function works(made, what) {
    const before = made.messages.length;
    const frames = record(made.channel('demo'), 'message');
    lastSocket().frame([{ type: 'message', uuid: `works ${before}`, channel: 'demo', message: {} }]);
    assert.deepEqual([made.messages.length, frames.length, thrown], [before + 1, 1, []], what);
}

test('unexpected values in the response to connect() do no harm', () => {
    for (const value of VALUES) {
        for (const field of ['channels', 'channels_info', 'state', ...NAMES]) {
            const made = connection();
            const channel = made.channel('demo');
            made.connect();
            lastRequest().answer(200, `{"conn_id": "first", ${shown(field)}: ${shown(value)}}`);
            lastSocket().accept();
            assert.equal(made.state, 'connected', `${field}: ${shown(value)}`);
            assert.ok(['subscribed', 'unsubscribed'].includes(channel.state));
            assert.deepEqual(thrown, []);
            made.closeConnection();
        }
    }
});

test('a response whose id is not a string is an error, and the client tries again', () => {
    for (const body of [...VALUES.map((value) => json('conn_id', value)), 'null', '7', '[]', '<html>', '', '"first"']) {
        if (body === json('conn_id', 'text')) {
            continue;
        }
        const made = connection();
        const events = record(made, 'error', 'retry');
        made.connect();
        lastRequest().answer(200, body);
        const names = events.map(([name, { code }]) => code ?? name).sort();
        assert.deepEqual([names, made.state, thrown], [['answer', 'retry'], 'connecting', []], body);
        made.closeConnection();
    }
});

test('an id that no address can contain does not stop the client', () => {
    const made = connection();
    made.connect();
    lastRequest().answer(200, '{"conn_id": "a\\ud800b"}');
    assert.equal(lastSocket().url, 'ws://server/ws?conn_id=a%EF%BF%BDb&resume=1');
});

test('no frame stops the client', () => {
    const made = listening();
    const channel = made.channel('demo');
    const types = ['message', 'message:edit', 'message:delete', 'presence', 'user_state_change', ...NAMES];
    for (const value of VALUES) {
        lastSocket().frame([value]);
        lastSocket().onmessage({ type: 'message', data: shown(value) });
        for (const type of types) {
            for (const field of ['uuid', 'user', 'users', 'state', 'message', 'timestamp', ...NAMES]) {
                const text = `[{"type": ${shown(type)}, "channel": "demo", ${shown(field)}: ${shown(value)}}]`;
                lastSocket().onmessage({ type: 'message', data: text });
            }
        }
        works(made, shown(value));
    }
    for (const data of ['<html>', '', '{', new ArrayBuffer(4), undefined]) {
        lastSocket().onmessage({ type: 'message', data });
    }
    works(made, 'a frame that is not JSON');
    assert.ok(channel.members.every(({ state }) => state !== undefined));
});

test('unexpected values about channels in responses do no harm', async () => {
    const made = listening();
    for (const name of ['demo', ...NAMES]) {
        const channel = made.channel(name);
        for (const value of VALUES) {
            for (const info of [shown(value), json('users', value), json('history', value), json('settings', value)]) {
                const answer = made.info([name]);
                const users = `[null, 7, {"user": ${shown(name)}, "state": ${shown(value)}}, {"user": ${shown(value)}}]`;
                lastRequest().answer(200, `{"channels": {${shown(name)}: ${info}}, "users": ${users}}`);
                await answer;
                assert.deepEqual(thrown, [], `${name}: ${info}`);
            }
        }
        assert.ok(Array.isArray(channel.messages) && Array.isArray(channel.members));
    }
    works(made, 'afterwards');
});

test('a channel with the name of an object member has no information', async () => {
    const made = listening();
    const channels = NAMES.map((name) => made.channel(name));
    const answer = made.info(NAMES);
    lastRequest().answer(200, { channels: {}, users: [] });
    await answer;
    assert.deepEqual(channels.map(({ info }) => info), NAMES.map(() => null));
});

test('channels may have any name, and any response settles their calls', async () => {
    for (const name of NAMES.slice(0, 4)) {
        const made = listening();
        const joined = made.channel(name).subscribe();
        await settled();
        lastRequest().answer(200, { channels: ['demo', name] });
        await joined;
        assert.equal(made.channel(name).state, 'subscribed');
        const got = record(made.channel(name), 'message');
        lastSocket().frame([{ type: 'message', uuid: 'a', channel: name }]);
        assert.equal(got.length, 1, name);
    }
    for (const value of VALUES) {
        const made = listening();
        for (const call of [() => made.subscribe(['other']), () => made.unsubscribe(['other']), () => made.unsubscribe(null)]) {
            const answer = call();
            lastRequest().answer(200, json('channels', value));
            await answer;
        }
        works(made, shown(value));
    }
});

test('a call with a message that is not JSON fails', async () => {
    const made = listening({ messageUrl: '/message' });
    const round = {};
    round.round = round;
    for (const message of [round, { big: 1n }]) {
        await assert.rejects(made.message(message), { code: 'network', operation: 'message' });
    }
    works(made, 'afterwards');
});

test('a mutator that throws fails its call but not the next one', async () => {
    const made = listening({ messageUrl: '/message' });
    made.addMutator('subscribe', () => { throw new Error('of a mutator'); });
    const handlers = [];
    made.subscribeErrorCallback = (request) => handlers.push(request.status);
    await assert.rejects(made.subscribe(['other']), { code: 'network', operation: 'subscribe' });
    assert.deepEqual([thrown.splice(0), handlers], [['of a mutator'], [0]]);
    made.mutators.subscribe.pop();
    const joined = made.subscribe(['other']);
    lastRequest().answer(200, { channels: ['demo', 'other'] });
    await joined;
    works(made, 'afterwards');
});

test('a mutator that throws at connect() does not block the connection', () => {
    const made = connection();
    const events = record(made, 'error', 'retry');
    made.addMutator('connect', () => { throw new Error('of a mutator'); });
    assert.throws(() => made.connect(), { message: 'of a mutator' });
    assert.deepEqual(events.map(([name]) => name).sort(), ['error', 'retry']);
    made.mutators.connect.pop();
    mock.timers.tick(2000);
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo'] });
    lastSocket().accept();
    assert.equal(made.state, 'connected');
});

test('settings that are not times lead to limited waits', () => {
    for (const value of [NaN, Infinity, undefined, null, 'soon', -5, 2 ** 40]) {
        const made = connection({ increaseBounceIv: value, maxReconnectDelayMs: value });
        const retries = record(made, 'retry');
        made.connect();
        lastRequest().fail();
        const [[, { delayMs }]] = retries;
        assert.ok(delayMs >= 0 && delayMs < 2 ** 31, `${value}: ${delayMs}`);
        made.closeConnection();
    }
});
