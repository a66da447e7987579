/** Channels as objects: joining, and joining again; who is there; what was said. */
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

/** Loses the socket and the id; the application is asked for a new one. */
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

test('a channel is one object, whose state follows what the server confirms', async () => {
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

test('several in one go are one request, and who is joined is not asked for again', async () => {
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

test('what is wanted before connect() is asked for with it', async () => {
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

test('what the application leaves out of connect() is asked for after it', async () => {
    const made = connection(urls);
    const joined = made.channel('news').subscribe();
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'first' });
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    await joined;
});

test('with a new id everything is joined again, by connect() or after it', async () => {
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

test('what a page asks for itself when it is connected again is not asked for twice', async () => {
    const made = listening();
    made.subscribe(['news']);
    lastRequest().answer(200, { channels: ['demo', 'news'] });
    made.connectCallback = () => made.subscribe(['news']);
    forget();
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.equal(to('/app/subscribe').length, 2);
});

test('what was left is not joined again', async () => {
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

test('one refused channel does not spoil the others', async () => {
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

test('an application that is away is asked again, ever more rarely', async () => {
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

test('a channel that an answer leaves out was refused', async () => {
    const made = listening();
    const joined = made.channel('news').subscribe();
    await settled();
    lastRequest().answer(200, { channels: ['demo'] });
    await assert.rejects(joined, { code: 'answer', operation: 'subscribe' });
    assert.equal(made.channel('news').state, 'unsubscribed');
});

test('answers without a list of channels are believed', async () => {
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

test('leaving before the answer is there leaves after it', async () => {
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

test('an answer about an id of before tells nothing about the present one', async () => {
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

test('what waits for an answer about an id of before is asked for anew', async () => {
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

test('while an id is asked for, channels wait for it', async () => {
    const made = listening();
    forget();
    made.channel('news').subscribe();
    await settled();
    assert.equal(lastRequest().url, '/app/connect');
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    await settled();
    assert.deepEqual(lastRequest().body, { channels: ['news'], conn_id: 'second' });
});

test('a channel the application took away is not asked for again', async () => {
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

test('closing ends what was waited for; connecting again joins again', async () => {
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

test('without an address for it a channel cannot be joined later', async () => {
    const made = listening({ subscribeUrl: '' });
    await assert.rejects(made.channel('news').subscribe(), { code: 'closed' });
});

// ---- Frames ----------------------------------------------------------------------------------------------------------

test('a channel gets its own frames, in order', () => {
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

test('after leaving nothing is told, even if the server has not heard of it', () => {
    const made = listening();
    const demo = made.channel('demo');
    const frames = record(demo, 'frame');
    demo.unsubscribe();
    lastSocket().frame([message('1', { channel: 'demo' })]);
    lastRequest().fail();
    lastSocket().frame([message('2', { channel: 'demo' })]);
    assert.deepEqual(frames, []);
});

test('leaving without the object counts for it as well', () => {
    const made = listening();
    const frames = record(made.channel('demo'), 'frame');
    made.unsubscribe(['demo']);
    assert.equal(made.channel('demo').state, 'unsubscribed');
    lastSocket().frame([message('1', { channel: 'demo' })]);
    assert.deepEqual(frames, []);
});

test('sending through a channel names it', () => {
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

// ---- Who is there ----------------------------------------------------------------------------------------------------

test('members are those of the answer, and follow who comes, goes and changes', () => {
    const made = connection(urls);
    const news = made.channel('news');
    const events = record(news, 'join', 'leave', 'members');
    made.connect();
    const users = [person('ada', { color: 'blue' }), person('bob')];
    lastRequest().answer(200, { conn_id: 'first', channels: ['news'], channels_info: info('news', { users }) });
    assert.deepEqual(news.members, users);
    assert.deepEqual(events.splice(0), [['members', users]], 'nobody came: they were there');
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

test('lists that come with presence events are the truth', () => {
    const members = new Presence();
    members.replace([person('ada'), person('ghost')]);
    const { joined, left } = members.apply(presence('bob', 'joined', { users: [person('ada'), person('bob')] }));
    assert.deepEqual([joined, left], [[person('bob')], [person('ghost')]]);
    assert.deepEqual(members.members, [person('ada'), person('bob')]);
});

test('what repeats itself changes nothing', () => {
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

test('an answer without a list of users says nothing about members', () => {
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
    assert.deepEqual(news.members, [], 'who is there now is not known');
    lastSocket().accept();
    lastSocket().frame([presence('bob', 'joined')]);
    news.unsubscribe();
    assert.deepEqual(news.members, []);
});

test('who came between two lists came', async () => {
    const made = listening();
    const demo = made.channel('demo');
    const events = record(demo, 'join', 'leave');
    for (const users of [[person('ada'), person('bob')], [person('ada'), person('cyd')]]) {
        const told = demo.refresh();
        lastRequest().answer(200, info('demo', { users }));
        await told;
    }
    assert.deepEqual(events, [['leave', person('bob')], ['join', person('cyd')]]);
});

// ---- What was said ---------------------------------------------------------------------------------------------------

test('messages are those of the history and those that came, with edits and deletions done', () => {
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

test('after a new id the history tells what was missed', () => {
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

test('the history is the truth from its first message on, and older ones stay', () => {
    const history = new History(100);
    for (const uuid of ['1', '2', '3', '4']) {
        history.apply(message(uuid));
    }
    assert.deepEqual(history.load([message('2'), message('4'), message('5')]).map(({ uuid }) => uuid), ['5']);
    assert.deepEqual(history.messages.map(({ uuid }) => uuid), ['1', '2', '4', '5']);
    history.load([]);
    assert.equal(history.messages.length, 4, 'a server that forgot everything takes nothing back');
});

test('a message that the history told is not told again by its frame', () => {
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

test('what was seen is not missed, although it is not kept any more', () => {
    const history = new History(2);
    const stored = (from, to) => Array.from({ length: to - from }, (_, index) => message(String(from + index)));
    assert.equal(history.load(stored(0, 10)).length, 10);
    assert.equal(history.messages.length, 2);
    assert.deepEqual(history.load(stored(0, 12)).map(({ uuid }) => uuid), ['10', '11']);
    stored(12, 2000).forEach((frame) => history.apply(frame));
    assert.equal(history.seen.size, 1000);
    assert.deepEqual(history.load([...stored(0, 2000), message('new')]).map(({ uuid }) => uuid), ['new']);
    assert.deepEqual(history.load(stored(3000, 3002)).length, 2, 'without anything in common all is new');
});

test('only so many messages are kept', () => {
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

test('a list that was given out does not change under its reader', () => {
    const made = listening();
    const news = made.channel('news');
    lastSocket().frame([message('1')]);
    const before = news.messages;
    lastSocket().frame([message('2'), { type: 'message:delete', uuid: '1', channel: 'news' }]);
    assert.deepEqual(before, [message('1')]);
});

test('asking again tells the present, also what came while the answer was on its way', async () => {
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
    assert.deepEqual(events, [['leave', person('bob')]], 'told once');
    assert.equal(news.info.name, 'news');
    assert.equal(news._records.size, 0);
});

test('info() takes what applications wrap and what they hand on', async () => {
    const made = listening();
    for (const wrap of [(data) => data, (data) => ({ channels_info: data })]) {
        const told = made.info();
        assert.deepEqual(lastRequest().body.channels, ['demo']);
        lastRequest().answer(200, wrap(info('demo')));
        assert.deepEqual(await told, info('demo'));
    }
    const failed = made.channel('demo').refresh();
    lastRequest().answer(500, '');
    await assert.rejects(failed, { code: 'refused', operation: 'info' });
    assert.equal(made.channel('demo')._records.size, 0);
});
