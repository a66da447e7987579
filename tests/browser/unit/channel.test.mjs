/** Channels as objects: subscription, reconnects, members and messages. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { History } from '../../../static/channelstream/src/history.js';
import { Presence } from '../../../static/channelstream/src/presence.js';
import {
    FakeRequest, connected, connection, install, lastRequest, lastSocket, record, settled, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const urls = { subscribeUrl: '/app/subscribe', unsubscribeUrl: '/app/unsubscribe', infoUrl: '/app/info' };
const to = (url) => FakeRequest.sent.filter((request) => request.url === url);

function listening(settings) {
    const made = connected({ ...urls, ...settings });
    lastSocket().accept();
    lastSocket().frame([]);
    return made;
}

/** Loses the socket and the id, so that the client requests a new id from the application. */
function forget() {
    lastSocket().drop(1006);
    tick(2000);
    lastSocket().accept();
    lastSocket().drop(1000);
    tick(0);
    assert.equal(lastRequest().url, '/app/connect');
}

const message = (uuid, more) => ({ type: 'message', uuid, channel: 'news', user: 'bob', edited: null, ...more });
const presence = (user, action, more) => ({
    type: 'presence', uuid: `${user} ${action}`, channel: 'news', user, users: [], message: { action },
    state: action === 'joined' ? { color: 'red' } : null, ...more,
});
const info = (name, { users = [], history = [] } = {}) => ({
    channels: { [name]: { name, users: users.map(({ user }) => user), history } },
    users,
});
const person = (user, state = {}) => ({ user, state });

// ---- Joining ---------------------------------------------------------------------------------------------------------

test('a channel is one object, whose state follows the confirmations of the server', async () => {
    const made = listening();
    const news = made.channel('news');
    assert.equal(made.channel('news'), news);
    assert.equal(made.channel('demo').state, 'subscribed', 'through connect()');
    const states = record(news, 'state');
    const joined = news.subscribe();
    assert.equal(news.state, 'subscribing');
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'first' });
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    await joined;
    const left = news.unsubscribe();
    assert.equal(news.state, 'unsubscribed');
    assert.deepEqual([lastRequest().url, lastRequest().body.channels], ['/app/unsubscribe', ['news']]);
    lastRequest().answer(200, { channels: ['demo'] });
    await left;
    assert.deepEqual(states.map(([, { previous, state }]) => `${previous} > ${state}`), [
        'unsubscribed > subscribing', 'subscribing > subscribed', 'subscribed > unsubscribed',
    ]);
    assert.deepEqual(made.channels, ['demo']);
});

test('several joins in one turn are one request, without channels that are already joined', async () => {
    const made = listening();
    const all = ['a', 'b', 'a', 'demo'].map((name) => made.channel(name).subscribe());
    await settled();
    assert.equal(to('/app/subscribe').length, 1);
    assert.deepEqual(lastRequest().body.channels, ['a', 'b']);
    lastRequest().answer(200, { channels: ['a', 'b', 'demo'] });
    await Promise.all(all);
    await made.channel('a').subscribe();
    assert.equal(to('/app/subscribe').length, 1);
});

test('connect() requests the channels that were wanted before', async () => {
    const made = connection(urls);
    const joined = made.channel('news').subscribe();
    await settled();
    assert.equal(FakeRequest.sent.length, 0);
    made.connect();
    assert.deepEqual(lastRequest().body.channels, ['demo', 'news']);
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo', 'news'] });
    await joined;
    assert.equal(to('/app/subscribe').length, 0);
});

test('channels that the application omits from connect() are requested afterwards', async () => {
    const made = connection(urls);
    const joined = made.channel('news').subscribe();
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'first' });
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    await joined;
});

test('with a new id all channels are joined again, by connect() or afterwards', async () => {
    const made = listening();
    const news = made.channel('news');
    news.subscribe();
    await settled();
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    made.subscribe(['sport']);
    lastRequest().answer(200, { channels: ['demo', 'news', 'sport'] });
    const states = record(news, 'state');
    forget();
    assert.equal(news.state, 'subscribing');
    assert.deepEqual(lastRequest().body.channels, ['demo', 'news', 'sport']);
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news', 'sport'], conn_id: 'second' });
    lastRequest().answer(200, { channels: ['demo', 'news', 'sport'] });
    assert.deepEqual(states.map(([, { state }]) => state), ['subscribing', 'subscribed']);
});

test('channels that the page requests after a reconnect are not requested twice', async () => {
    const made = listening();
    made.subscribe(['news']);
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    made.connectCallback = () => made.subscribe(['news']);
    forget();
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.equal(to('/app/subscribe').length, 2);
});

test('left channels are not joined again', async () => {
    const made = listening();
    made.subscribe(['news', 'sport']);
    lastRequest().answer(200, { channels: ['demo', 'news', 'sport'] });
    made.channel('news').unsubscribe();
    lastRequest().fail();
    made.unsubscribe(['sport']);
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    forget();
    assert.deepEqual(lastRequest().body.channels, ['demo']);
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.equal(lastRequest().url, '/app/connect');
});

test('a lost transport does not unsubscribe', async () => {
    const made = listening();
    const states = record(made.channel('demo'), 'state');
    lastSocket().drop(1006);
    tick(2000);
    lastSocket().accept();
    assert.deepEqual(states, []);
});

test('a refused channel does not affect the others', async () => {
    const made = listening();
    const errors = record(made.channel('secret'), 'error');
    const open = made.channel('open').subscribe();
    const secret = made.channel('secret').subscribe();
    await settled();
    lastRequest().answer(403, { channels: ['no'] });
    await settled();
    const [first, second] = FakeRequest.sent.slice(-2);
    assert.deepEqual([first.body.channels, second.body.channels], [['open'], ['secret']]);
    first.answer(200, { channels: ['demo', 'open'] });
    second.answer(403, {});
    await open;
    await assert.rejects(secret, { code: 'refused', status: 403 });
    assert.deepEqual([made.channel('open').state, made.channel('secret').state], ['subscribed', 'unsubscribed']);
    assert.equal(errors.length, 1);
    const count = FakeRequest.sent.length;
    tick(600_000);
    assert.equal(FakeRequest.sent.slice(count).filter(({ url }) => url === '/app/subscribe').length, 0);
});

test('requests to an unavailable application are repeated with growing waits', async () => {
    const made = listening();
    const joined = made.channel('news').subscribe();
    await settled();
    for (const wait of [2000, 4000, 8000]) {
        lastRequest().answer(503, '');
        await settled();
        const count = to('/app/subscribe').length;
        tick(wait - 1);
        assert.equal(to('/app/subscribe').length, count);
        tick(1);
        assert.equal(to('/app/subscribe').length, count + 1);
    }
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    await joined;
});

test('a channel that is missing from the response counts as refused', async () => {
    const made = listening();
    const joined = made.channel('news').subscribe();
    await settled();
    lastRequest().answer(200, { channels: ['demo'] });
    await assert.rejects(joined, { code: 'answer', operation: 'subscribe' });
    assert.equal(made.channel('news').state, 'unsubscribed');
});

test('a successful response without a list of channels confirms the request', async () => {
    const made = listening();
    const news = made.channel('news');
    const joined = news.subscribe();
    await settled();
    lastRequest().answer(200, {});
    await joined;
    assert.deepEqual(made.channels, ['demo', 'news']);
    news.unsubscribe();
    lastRequest().answer(200, {});
    assert.deepEqual(made.channels, ['demo']);
});

test('a leave before the response arrives is sent after it', async () => {
    const made = listening();
    const news = made.channel('news');
    const joined = news.subscribe();
    await settled();
    const request = lastRequest();
    const left = news.unsubscribe();
    await assert.rejects(joined, { code: 'closed' });
    await left;
    assert.equal(lastRequest(), request);
    request.answer(200, { channels: ['demo', 'news'] });
    assert.equal(news.state, 'unsubscribed');
    await settled();
    assert.deepEqual([lastRequest().url, lastRequest().body.channels], ['/app/unsubscribe', ['news']]);
});

test('a response for an earlier id does not affect the present one', async () => {
    const made = listening();
    const joined = made.channel('news').subscribe();
    await settled();
    const stale = lastRequest();
    forget();
    assert.deepEqual(lastRequest().body.channels, ['demo', 'news']);
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    stale.answer(422, { conn_id: ['Unknown connection'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'second' });
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    await joined;
});

test('channels that wait for a response for an earlier id are requested again', async () => {
    const made = listening();
    made.channel('news').subscribe();
    await settled();
    forget();
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'second' });
    made.closeConnection();
    made.connect();
    lastRequest().answer(200, { conn_id: 'third', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'third' });
});

test('channels wait while the client requests an id', async () => {
    const made = listening();
    forget();
    made.channel('news').subscribe();
    await settled();
    assert.equal(lastRequest().url, '/app/connect');
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'second' });
});

test('a channel that the application removed is not requested again', async () => {
    const made = listening();
    made.channel('news').subscribe();
    await settled();
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    made.subscribe(['sport']);
    lastRequest().answer(200, { channels: ['demo', 'sport'] });
    assert.equal(made.channel('news').state, 'unsubscribed');
    forget();
    assert.deepEqual(lastRequest().body.channels, ['demo', 'sport']);
});

test('closing rejects pending joins, and the next connect joins again', async () => {
    const made = listening();
    made.channel('news').subscribe();
    await settled();
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    const waiting = made.channel('sport').subscribe();
    made.closeConnection();
    await assert.rejects(waiting, { code: 'closed' });
    made.connect();
    assert.deepEqual(lastRequest().body.channels, ['demo', 'news', 'sport']);
});

test('without a subscribeUrl a channel cannot be joined later', async () => {
    const made = listening({ subscribeUrl: '' });
    await assert.rejects(made.channel('news').subscribe(), { code: 'closed' });
});

// ---- Frames ----------------------------------------------------------------------------------------------------------

test('a channel receives its own frames, in order', () => {
    const made = listening();
    const frames = record(made.channel('news'), 'message', 'message:edit', 'message:delete', 'presence');
    const all = record(made.channel('news'), 'frame');
    lastSocket().frame([
        message('1'), message('2', { channel: 'demo' }), message('3', { channel: null }),
        { type: 'message:edit', uuid: '1', channel: 'news', edited: 'now' },
        { type: 'message:delete', uuid: '1', channel: 'news' }, presence('bob', 'joined'),
        { type: 'of a later server', channel: 'news' },
    ]);
    assert.deepEqual(frames.map(([name]) => name), ['message', 'message:edit', 'message:delete', 'presence']);
    assert.equal(all.length, 5);
});

test('a left channel emits no events, even before the server has processed the leave', () => {
    const made = listening();
    const demo = made.channel('demo');
    const frames = record(demo, 'frame');
    demo.unsubscribe();
    lastSocket().frame([message('1', { channel: 'demo' })]);
    lastRequest().fail();
    lastSocket().frame([message('2', { channel: 'demo' })]);
    assert.deepEqual(frames, []);
});

test('unsubscribe() of the connection also affects the channel object', () => {
    const made = listening();
    const frames = record(made.channel('demo'), 'frame');
    made.unsubscribe(['demo']);
    assert.equal(made.channel('demo').state, 'unsubscribed');
    lastSocket().frame([message('1', { channel: 'demo' })]);
    assert.deepEqual(frames, []);
});

test('messages sent through a channel contain its name', () => {
    const made = listening({ messageUrl: '/m', messageEditUrl: '/e', messageDeleteUrl: '/d' });
    const news = made.channel('news');
    news.publish({ text: 'hi' }, { pm_users: ['bob'] });
    assert.deepEqual([lastRequest().verb, lastRequest().url, lastRequest().body],
        ['POST', '/m', { channel: 'news', user: 'ada', message: { text: 'hi' }, pm_users: ['bob'] }]);
    news.edit('u1', { text: 'ho' });
    assert.deepEqual([lastRequest().verb, lastRequest().body],
        ['PATCH', { channel: 'news', uuid: 'u1', message: { text: 'ho' } }]);
    news.delete('u1');
    assert.deepEqual([lastRequest().verb, lastRequest().body], ['DELETE', { channel: 'news', uuid: 'u1' }]);
});

// ---- Members ---------------------------------------------------------------------------------------------------------

test('members come from the response, and follow joins, leaves and changes', () => {
    const made = connection(urls);
    const news = made.channel('news');
    const events = record(news, 'join', 'leave', 'members');
    made.connect();
    const users = [person('ada', { color: 'blue' }), person('bob')];
    lastRequest().answer(200, { conn_id: 'first', channels: ['news'], channels_info: info('news', { users }) });
    assert.deepEqual(news.members, users);
    assert.deepEqual(events.splice(0), [['members', users]], 'the first list causes no join events');
    lastSocket().accept();
    lastSocket().frame([presence('cyd', 'joined')]);
    lastSocket().frame([presence('bob', 'parted')]);
    lastSocket().frame([{
        type: 'user_state_change', channel: 'news', user: 'cyd', message: { state: { color: 'green' }, changed: [] },
    }]);
    assert.deepEqual(events.map(([name, detail]) => [name, detail.user ?? detail.map(({ user }) => user).join()]), [
        ['join', 'cyd'], ['members', 'ada,bob,cyd'], ['leave', 'bob'], ['members', 'ada,cyd'], ['members', 'ada,cyd'],
    ]);
    assert.deepEqual(news.members, [person('ada', { color: 'blue' }), person('cyd', { color: 'green' })]);
});

test('a list in a presence event replaces the members', () => {
    const members = new Presence();
    members.replace([person('ada'), person('ghost')]);
    const { joined, left } = members.apply(presence('bob', 'joined', { users: [person('ada'), person('bob')] }));
    assert.deepEqual([joined, left], [[person('bob')], [person('ghost')]]);
    assert.deepEqual(members.members, [person('ada'), person('bob')]);
});

test('repeated events change nothing', () => {
    const members = new Presence();
    members.replace([person('ada', { color: 'red' })]);
    assert.equal(members.apply(presence('ada', 'joined')).changed, false);
    assert.equal(members.apply(presence('bob', 'parted')).changed, false);
    const state = (color) => ({ type: 'user_state_change', user: 'ada', message: { state: { color } } });
    assert.equal(members.apply(state('red')).changed, false);
    assert.equal(members.apply(state('blue')).changed, true);
    assert.equal(members.apply({ ...state('red'), user: 'stranger' }), null);
    assert.equal(members.apply(message('1')), null);
});

test('a response without a list of users does not change the members', () => {
    const made = connection(urls);
    const news = made.channel('news');
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: ['news'], channels_info: info('news') });
    lastSocket().accept();
    lastSocket().frame([presence('bob', 'joined')]);
    assert.deepEqual(news.members, [person('bob', { color: 'red' })]);
    news.subscribe();
    forget();
    lastRequest().answer(200, { conn_id: 'second', channels: ['news'], channels_info: info('news') });
    assert.deepEqual(news.members, [], 'the present members are unknown');
    lastSocket().accept();
    lastSocket().frame([presence('bob', 'joined')]);
    news.unsubscribe();
    assert.deepEqual(news.members, []);
});

test('a member that joined between two lists causes a join event', async () => {
    const made = listening();
    const demo = made.channel('demo');
    const events = record(demo, 'join', 'leave');
    for (const users of [[person('ada'), person('bob')], [person('ada'), person('cyd')]]) {
        const refreshed = demo.refresh();
        lastRequest().answer(200, info('demo', { users }));
        await refreshed;
    }
    assert.deepEqual(events, [['leave', person('bob')], ['join', person('cyd')]]);
});

// ---- Messages --------------------------------------------------------------------------------------------------------

test('messages are those of the history and received ones, with edits and deletions applied', () => {
    const made = connection(urls);
    const news = made.channel('news');
    const events = record(news, 'history');
    made.connect();
    const history = [message('1', { message: { text: 'one' } }), message('2')];
    lastRequest().answer(200, { conn_id: 'first', channels: ['news'], channels_info: info('news', { history }) });
    assert.deepEqual(events, [['history', { messages: history, missed: history }]]);
    lastSocket().accept();
    lastSocket().frame([message('2'), message('3')]);
    lastSocket().frame([{ type: 'message:edit', uuid: '1', channel: 'news', edited: 'now', message: { text: 'eins' }, catchup: true }]);
    lastSocket().frame([{ type: 'message:delete', uuid: '2', channel: 'news' }]);
    assert.deepEqual(news.messages, [message('1', { message: { text: 'eins' }, edited: 'now' }), message('3')]);
});

test('after a new id the history contains the missed messages', () => {
    const made = connection(urls);
    const news = made.channel('news');
    const reply = (id, uuids) => lastRequest().answer(200, {
        conn_id: id, channels: ['news'], channels_info: info('news', { history: uuids.map((uuid) => message(uuid)) }),
    });
    made.connect();
    reply('first', ['1', '2']);
    lastSocket().accept();
    lastSocket().frame([message('3')]);
    forget();
    const events = record(news, 'history');
    reply('second', ['2', '3', '4', '5']);
    const [[, { messages, missed }]] = events;
    assert.deepEqual(missed.map(({ uuid }) => uuid), ['4', '5']);
    assert.deepEqual(messages.map(({ uuid }) => uuid), ['1', '2', '3', '4', '5']);
});

test('the history replaces messages from its first one on, and older ones stay', () => {
    const history = new History(100);
    for (const uuid of ['1', '2', '3', '4']) {
        history.apply(message(uuid));
    }
    assert.deepEqual(history.load([message('2'), message('4'), message('5')]).map(({ uuid }) => uuid), ['5']);
    assert.deepEqual(history.messages.map(({ uuid }) => uuid), ['1', '2', '4', '5']);
    history.load([]);
    assert.equal(history.messages.length, 4, 'an empty history deletes nothing');
});

test('a message from the history causes no second event when its frame arrives', () => {
    const made = connection(urls);
    const news = made.channel('news');
    const events = record(news, 'message', 'history');
    made.connect();
    const history = [message('1'), message('2')];
    lastRequest().answer(200, { conn_id: 'first', channels: ['news'], channels_info: info('news', { history }) });
    lastSocket().accept();
    lastSocket().frame([message('2', { catchup: true }), message('3')]);
    assert.deepEqual(events.map(([name, detail]) => detail.uuid ?? detail.missed.map(({ uuid }) => uuid)), [['1', '2'], '3']);
    lastSocket().frame([message('2')]);
    assert.equal(events.length, 3, 'but an application may send an id again');
});

test('a seen message does not count as missed after it was dropped', () => {
    const history = new History(2);
    const stored = (from, to) => Array.from({ length: to - from }, (_, index) => message(String(from + index)));
    assert.equal(history.load(stored(0, 10)).length, 10);
    assert.equal(history.messages.length, 2);
    assert.deepEqual(history.load(stored(0, 12)).map(({ uuid }) => uuid), ['10', '11']);
    stored(12, 2000).forEach((frame) => history.apply(frame));
    assert.equal(history.seen.size, 1000);
    assert.deepEqual(history.load([...stored(0, 2000), message('new')]).map(({ uuid }) => uuid), ['new']);
    assert.deepEqual(history.load(stored(3000, 3002)).length, 2, 'without a common message all are new');
});

test('at most messageLimit messages are kept', () => {
    const made = listening();
    const news = made.channel('news');
    news.messageLimit = 3;
    for (let count = 0; count < 10; count += 1) {
        lastSocket().frame([message(String(count))]);
    }
    assert.deepEqual(news.messages.map(({ uuid }) => uuid), ['7', '8', '9']);
    news.messageLimit = 1;
    assert.deepEqual(news.messages.map(({ uuid }) => uuid), ['9']);
});

test('a returned list does not change afterwards', () => {
    const made = listening();
    const news = made.channel('news');
    lastSocket().frame([message('1')]);
    const before = news.messages;
    lastSocket().frame([message('2'), { type: 'message:delete', uuid: '1', channel: 'news' }]);
    assert.deepEqual(before, [message('1')]);
});

test('refresh() includes frames that arrive while the response is in flight', async () => {
    const made = listening();
    const news = made.channel('news');
    lastSocket().frame([message('1')]);
    const first = news.refresh();
    lastRequest().answer(200, info('news', { users: [person('ada'), person('bob')] }));
    await first;
    const events = record(news, 'join', 'leave');
    const done = news.refresh();
    const request = lastRequest();
    assert.deepEqual([request.url, request.body], ['/app/info', { channels: ['news'], conn_id: 'first' }]);
    lastSocket().frame([message('3'), { type: 'message:delete', uuid: '2', channel: 'news' }, presence('bob', 'parted')]);
    request.answer(200, info('news', {
        users: [person('ada'), person('bob')], history: [message('1'), message('2')],
    }));
    await done;
    assert.deepEqual(news.messages.map(({ uuid }) => uuid), ['1', '3']);
    assert.deepEqual(news.members, [person('ada')]);
    assert.deepEqual(events, [['leave', person('bob')]], 'one event');
    assert.equal(news.info.name, 'news');
    assert.equal(news._records.size, 0);
});

test('info() accepts wrapped and unwrapped responses', async () => {
    const made = listening();
    for (const wrap of [(data) => data, (data) => ({ channels_info: data })]) {
        const refreshed = made.info();
        assert.deepEqual(lastRequest().body.channels, ['demo']);
        lastRequest().answer(200, wrap(info('demo')));
        assert.deepEqual(await refreshed, info('demo'));
    }
    const failed = made.channel('demo').refresh();
    lastRequest().answer(500, '');
    await assert.rejects(failed, { code: 'refused', operation: 'info' });
    assert.equal(made.channel('demo')._records.size, 0);
});
