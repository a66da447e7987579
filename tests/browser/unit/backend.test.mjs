import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { FakeRequest, connected, connection, install, lastRequest, lastSocket, uninstall } from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

test('connect sends name and channels and takes over the response', () => {
    const made = connection();
    made.connect();
    const { verb, url, body, headers } = lastRequest();
    assert.deepEqual([verb, url, body], ['POST', '/app/connect', { username: 'ada', channels: ['demo'] }]);
    assert.equal(headers['Content-Type'], 'application/json');
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo', 'news'] });
    assert.equal(made.connectionId, 'first');
    assert.deepEqual(made.channels, ['demo', 'news']);
});

test('mutators change headers, body and address, in order, before the request is sent', () => {
    const made = connection({ messageDeleteUrl: '/app/message' });
    made.addMutator('connect', (request) => request.headers.push({ name: 'X-CSRF-Token', value: 'one' }));
    made.addMutator('connect', (request) => { request.body.token = request.headers[0].value; });
    made.connect();
    assert.equal(lastRequest().headers['X-CSRF-Token'], 'one');
    assert.equal(lastRequest().body.token, 'one');
    made.addMutator('messageDelete', (request) => { request.url += `?uuid=${request.body.uuid}`; });
    made.delete({ uuid: 'm1' });
    assert.equal(lastRequest().url, '/app/message?uuid=m1');
});

const calls = [
    ['message', { text: 'hi' }, 'messageUrl', 'POST', 'message', { text: 'hi' }],
    ['edit', { uuid: 'm1' }, 'messageEditUrl', 'PATCH', 'messageEdit', { uuid: 'm1' }],
    ['delete', { uuid: 'm1' }, 'messageDeleteUrl', 'DELETE', 'messageDelete', { uuid: 'm1' }],
    ['subscribe', ['news'], 'subscribeUrl', 'POST', 'subscribe', { channels: ['news'], conn_id: 'first' }],
    ['unsubscribe', ['news'], 'unsubscribeUrl', 'POST', 'unsubscribe', { channels: ['news'], conn_id: 'first' }],
    ['updateUserState', { color: 'red' }, 'userStateUrl', 'POST', 'setUserState',
        { username: 'ada', conn_id: 'first', update_state: { color: 'red' } }],
];

for (const [method, argument, address, verb, callback, body] of calls) {
    test(`${method} goes to ${address} and reports to its callback`, () => {
        const reported = [];
        const made = connected({ [address]: '/there' });
        made[`${callback}Callback`] = (request, data) => reported.push(['ok', request.status, data]);
        made[`${callback}ErrorCallback`] = (request, data) => reported.push(['error', request.status, data]);
        made[method](argument);
        const request = lastRequest();
        assert.deepEqual([request.verb, request.url, request.body], [verb, '/there', body]);
        request.answer(200, { channels: ['demo'] });
        made[method](argument);
        lastRequest().answer(422, { user: ['no'] });
        made[method](argument);
        lastRequest().fail();
        assert.deepEqual(reported, [
            ['ok', 200, { channels: ['demo'] }],
            ['error', 422, { user: ['no'] }],
            ['error', 0, ''],
        ]);
    });
}

test('an empty list of channels sends no request', () => {
    const made = connected();
    const before = FakeRequest.sent.length;
    made.subscribe([]);
    assert.equal(FakeRequest.sent.length, before);
    assert.deepEqual(made.calculateSubscribe(['demo', 'news']), ['news']);
    assert.deepEqual(made.calculateUnsubscribe(['demo', 'news']), ['demo']);
    assert.deepEqual(made.calculateUnsubscribe(), []);
});

test('disconnect closes the connection and sends the id to the server in query and body', () => {
    const made = connected();
    const socket = lastSocket();
    made.disconnect();
    assert.equal(lastRequest().url, '//server/disconnect?via=app&conn_id=first');
    assert.deepEqual(lastRequest().body, { conn_id: 'first' });
    assert.equal(socket.readyState, 3);
    assert.ok(made.calls.includes('connectionClosed'));
});
