/** Positions: the library continues where a transport was cut, drops repetitions, and reports losses. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { Positions, isIdle, reportsLoss } from '../../../static/channelstream/src/positions.js';
import {
    FakeRequest, connected, connection, install, lastRequest, lastSocket, record, settled, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const answer = (epoch, from, more = {}) => ({ epoch, from, offset: 99, recovered: true, ...more });
const attached = (streams, more = {}) => ({
    type: 'attached', conn_id: 'first', message: {}, streams, private: answer('pppppppp', 0), unknown: [], ...more,
});
const cursor = (text) => ({ type: 'cursor', cursor: text, message: {} });
const subscribed = (channel, epoch, offset) => ({ type: 'subscribed', channel, epoch, offset, message: {} });
const frame = (offset, channel = 'demo', more = {}) => ({
    type: 'message', channel, uuid: `${channel} ${offset}`, message: { offset }, catchup: false, offset, ...more,
});
const queryOf = (url) => Object.fromEntries(new URL(url, 'http://page').searchParams);
const offsets = (made) => made.messages.map(({ offset }) => offset);

/** A connection over a websocket that has received offset 1 of its channel. */
function listening(settings = {}) {
    const made = connected(settings);
    lastSocket().accept();
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 0) })]);
    lastSocket().frame([cursor('1e.1')]);
    lastSocket().frame([frame(1)]);
    return made;
}

/** Breaks the socket and opens the next one. */
function breakDown() {
    lastSocket().drop(1006);
    tick(2000);
    lastSocket().accept();
}

test('the first request asks for positions and has none', () => {
    connected();
    assert.deepEqual(queryOf(lastSocket().url), { conn_id: 'first', resume: '1' });
});

test('without the option nothing is asked for', () => {
    const made = connected({ resume: false });
    lastSocket().accept();
    lastSocket().frame([frame(1)]);
    breakDown();
    assert.deepEqual(queryOf(lastSocket().url), { conn_id: 'first' });
    assert.deepEqual(offsets(made), [1]);
});

test('the next transport continues at the cursor and the positions, and repetitions are dropped', () => {
    const made = listening();
    breakDown();
    assert.deepEqual(queryOf(lastSocket().url), {
        conn_id: 'first', resume: '1', since: '1e.1', positions: '{"demo":"aaaaaaaa.1","":"pppppppp.0"}',
    });
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 0) })]);
    [1, 2, 2, 1, 4].forEach((offset) => lastSocket().frame([frame(offset)]));
    assert.deepEqual(offsets(made), [1, 2, 4]);
});

test('elements are not shown to the page, and frames have their offset', () => {
    const made = connected();
    const shown = record(made, 'frame');
    lastSocket().accept();
    lastSocket().frame([attached({}), subscribed('demo', 'aaaaaaaa', 4), cursor('1e.1'), { type: 'token', expires: 1 }]);
    assert.deepEqual([made.messages, shown], [[], []]);
    lastSocket().frame([frame(5), frame(1, null)]);
    assert.deepEqual(offsets(made), [5, 1]);
    assert.equal(shown.length, 2);
});

test('a server without positions works as before', () => {
    const made = connected();
    const events = record(made, 'recovered', 'open');
    lastSocket().accept();
    lastSocket().frame([]);
    const plain = { type: 'message', channel: 'demo', uuid: 'a', message: {} };
    lastSocket().frame([plain]);
    lastSocket().frame([plain]);
    breakDown();
    lastSocket().frame([]);
    assert.deepEqual(queryOf(lastSocket().url), { conn_id: 'first', resume: '1' });
    assert.deepEqual(made.messages, [plain, plain]);
    assert.deepEqual(events.map(([name, { gap }]) => [name, gap]), [['open', false], ['open', true]]);
});

test('each poll names the cursor of the answer before it, which it is sent before the page sees', () => {
    const made = connected({ noWebsocket: true });
    const urls = [];
    made.listenMessageCallback = () => urls.push(queryOf(lastRequest().url));
    lastRequest().answer(200, [attached({ demo: answer('aaaaaaaa', 0) }), frame(1), cursor('1e.1')]);
    assert.deepEqual(urls, [{ conn_id: 'first', resume: '1', since: '1e.1' }]);
    // A response that was full has no cursor, so the positions say what has arrived.
    lastRequest().answer(200, [frame(2)]);
    assert.deepEqual(urls[1], {
        conn_id: 'first', resume: '1', since: '1e.1', positions: '{"demo":"aaaaaaaa.2","":"pppppppp.0"}',
    });
});

test('a lost response is repeated from its cursor, and an empty one does not count as hasty', () => {
    const made = connected({ noWebsocket: true });
    lastRequest().answer(200, [attached({ demo: answer('aaaaaaaa', 0) }), frame(1), cursor('1e.1')]);
    tick(5000);
    lastRequest().answer(200, [cursor('1e.2')]);
    lastRequest().fail();
    tick(2000);
    assert.equal(queryOf(lastRequest().url).since, '1e.2');
    lastRequest().answer(200, [frame(1), frame(2), cursor('1e.3')]);
    assert.deepEqual(offsets(made), [1, 2]);
    const sent = FakeRequest.sent.length;
    lastRequest().answer(200, [cursor('1e.3')]);
    assert.equal(FakeRequest.sent.length, sent, 'a server that stops answers at once');
    tick(2000);
    assert.equal(FakeRequest.sent.length, sent + 1);
});

test('a return is reported for each stream, and the first time is not one', () => {
    const made = connected();
    const events = record(made, 'recovered');
    lastSocket().accept();
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 0), news: answer('bbbbbbbb', 3) })]);
    assert.deepEqual(events, []);
    breakDown();
    const loss = { recovered: false, reason: 'evicted', gap: { after: 3, upto: 8 } };
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 0), news: answer('bbbbbbbb', 3, loss) })]);
    const fine = { recovered: true, reason: null, gap: null };
    assert.deepEqual(events.map(([, detail]) => detail), [
        { channel: 'demo', ...fine }, { channel: 'news', ...loss }, { channel: null, ...fine },
    ]);
});

test('a poll reports the streams that the server does not name as recovered', () => {
    const made = connected({ noWebsocket: true });
    const events = record(made, 'recovered', 'open');
    lastRequest().answer(200, [attached({ demo: answer('aaaaaaaa', 0), news: answer('bbbbbbbb', 3) }), cursor('1e.1')]);
    lastRequest().fail();
    tick(2000);
    const loss = { recovered: false, reason: 'not-kept' };
    lastRequest().answer(200, [
        attached({ news: answer('bbbbbbbb', 3, loss) }, { private: undefined }), frame(1), cursor('1e.2'),
    ]);
    assert.deepEqual(events.filter(([name]) => name === 'recovered').map(([, { channel, recovered }]) => [channel, recovered]),
        [['news', false], [null, true], ['demo', true]]);
    lastRequest().answer(200, [frame(2), cursor('1e.3')]);
    assert.equal(events.length, 4, 'the next poll is no return');
    assert.deepEqual(events.filter(([name]) => name === 'open').map(([, { gap }]) => gap), [true]);
});

test('the event open reports exactly whether there was a loss', () => {
    const made = listening();
    const opens = record(made, 'open');
    breakDown();
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 1) })]);
    breakDown();
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 1, { recovered: false, reason: 'evicted' }) })]);
    assert.deepEqual(opens.map(([, { gap, resumed }]) => [gap, resumed]), [[false, true], [true, true]]);
});

test('after a loss the channel reports it and loads its history once', async () => {
    const made = listening({ infoUrl: '/app/info' });
    const events = record(made.channel('demo'), 'gap', 'history');
    made.channel('other');
    breakDown();
    const gap = { after: 1, upto: 5 };
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 1, { recovered: false, reason: 'evicted', gap }) })]);
    assert.deepEqual(events, [['gap', { reason: 'evicted', gap }]]);
    tick(0);
    assert.deepEqual([lastRequest().url, lastRequest().body], ['/app/info', { channels: ['demo'], conn_id: 'first' }]);
    const stored = [{ uuid: 'missed', message: {} }];
    lastRequest().answer(200, { channels: { demo: { history: stored, users: [] } }, users: [] });
    await settled();
    assert.deepEqual(events.at(-1), ['history', { messages: stored, missed: stored }]);
    assert.equal(FakeRequest.sent.filter(({ url }) => url === '/app/info').length, 1);
});

test('after a crash of the server history is loaded at a random time, and not after the end', () => {
    const made = listening({ infoUrl: '/app/info' });
    made.channel('demo');
    const restart = () => {
        breakDown();
        lastSocket().frame([attached({ demo: answer('cccccccc', 1, { recovered: false, reason: 'restart' }) })]);
    };
    restart();
    tick(4900);
    assert.notEqual(lastRequest().url, '/app/info');
    tick(100);
    assert.equal(lastRequest().url, '/app/info');
    restart();
    made.closeConnection();
    tick(6000);
    assert.equal(FakeRequest.sent.filter(({ url }) => url === '/app/info').length, 1);
});

test('a new epoch starts a stream anew, except that its position stays known to the server after a crash', () => {
    const made = listening();
    [2, 3].forEach((offset) => lastSocket().frame([frame(offset)]));
    breakDown();
    lastSocket().frame([attached({ demo: answer('cccccccc', 2, { recovered: false, reason: 'restart' }) })]);
    [2, 3, 4].forEach((offset) => lastSocket().frame([frame(offset)]));
    assert.deepEqual(offsets(made), [1, 2, 3, 3, 4], 'offset 3 is another frame now');
    breakDown();
    lastSocket().frame([attached({ demo: answer('dddddddd', 0, { recovered: false, reason: 'epoch' }) })]);
    lastSocket().drop(1006);
    tick(2000);
    assert.deepEqual(queryOf(lastSocket().url).positions, '{"demo":"dddddddd.0","":"pppppppp.0"}');
    assert.ok(!('since' in queryOf(lastSocket().url)), 'the cursor is one of a server that has gone');
});

test('a position ahead of its stream is given up', () => {
    const made = listening();
    lastSocket().frame([frame(9)]);
    breakDown();
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 0, { recovered: false, reason: 'ahead' }) })]);
    lastSocket().frame([frame(2)]);
    assert.deepEqual(offsets(made), [1, 9, 2]);
});

test('a channel that is joined meanwhile has a position, and an unknown one loses it', () => {
    const made = listening();
    lastSocket().frame([subscribed('news', 'bbbbbbbb', 180)]);
    lastSocket().frame([frame(180, 'news')]);
    lastSocket().frame([frame(181, 'news')]);
    assert.deepEqual(offsets(made), [1, 181]);
    breakDown();
    assert.equal(queryOf(lastSocket().url).positions, '{"news":"bbbbbbbb.181","demo":"aaaaaaaa.1","":"pppppppp.0"}');
    lastSocket().frame([attached({ demo: answer('aaaaaaaa', 1) }, { unknown: ['news'] })]);
    breakDown();
    assert.equal(queryOf(lastSocket().url).positions, '{"demo":"aaaaaaaa.1","":"pppppppp.0"}');
});

test('a new subscription with a loss is reported', () => {
    const made = listening();
    const events = record(made, 'recovered');
    lastSocket().frame([{ ...subscribed('demo', 'eeeeeeee', 7), recovered: false, reason: 'restart' }]);
    assert.deepEqual(events, [['recovered', { channel: 'demo', recovered: false, reason: 'restart', gap: null }]]);
});

test('a refused position is given up', () => {
    connected({ noWebsocket: true });
    lastRequest().answer(200, [attached({ demo: answer('aaaaaaaa', 0) }), frame(1), cursor('1e.1')]);
    lastRequest().answer(422, { positions: ['Longer than maximum length 1.'] });
    tick(2000);
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    assert.deepEqual(queryOf(lastRequest().url), { conn_id: 'second', resume: '1' });
});

test('the address keeps at most 2 KB of positions, of the streams with the latest frames', () => {
    const positions = new Positions();
    const names = Array.from({ length: 300 }, (_, index) => `channel "${index}" ü`);
    const streams = Object.fromEntries(names.map((name) => [name, answer('aaaaaaaa', 1)]));
    positions.take([attached(streams), ...names.map((name) => frame(2, name)), frame(3, names[7])], false);
    const url = positions.addTo('/ws?conn_id=first', true);
    const { positions: text } = queryOf(url);
    const kept = Object.keys(JSON.parse(text));
    assert.ok(encodeURIComponent(text).length <= 2048 && encodeURIComponent(text).length > 1900, text.length);
    assert.deepEqual(kept.slice(0, 3), [names[7], names[299], names[298]]);
    assert.equal(JSON.parse(text)[names[7]], 'aaaaaaaa.3');
});

test('names that objects inherit, and names that no address can contain, are ordinary names', () => {
    const positions = new Positions();
    const streams = JSON.parse('{"__proto__": {"epoch": "aaaaaaaa", "from": 0}, "constructor": {"epoch": "b", "from": 2}}');
    positions.take([attached(streams, { private: undefined })], false);
    assert.deepEqual(positions.take([frame(1, '__proto__'), frame(2, 'constructor'), frame(1, 'toString')], false).frames
        .map(({ channel }) => channel), ['__proto__', 'toString']);
    positions.take([subscribed('\ud800', 'aaaaaaaa', 1)], false);
    assert.match(decodeURIComponent(positions.addTo('', true)), /"__proto__":"aaaaaaaa\.1"/);
});

test('heartbeats are learnt from cursors too, except from the first one', () => {
    connected();
    const socket = lastSocket();
    socket.accept();
    socket.frame([attached({ demo: answer('aaaaaaaa', 0) })]);
    socket.frame([cursor('1e.1')]);
    tick(1000);
    [[], [cursor('1e.2')], []].forEach((list) => {
        socket.frame(list);
        tick(10_000);
    });
    tick(19_999);
    assert.equal(socket.readyState, 1, 'three pauses of ten seconds');
    tick(1);
    assert.equal(socket.readyState, 3);
});

test('what a list reports', () => {
    assert.equal(reportsLoss(undefined), undefined);
    assert.equal(reportsLoss([frame(1)]), undefined);
    assert.equal(reportsLoss([frame(1), cursor('1e.1')]), false);
    assert.equal(reportsLoss([attached({}, { private: answer('p', 0, { recovered: false }) })]), true);
    assert.deepEqual([isIdle([]), isIdle([cursor('1e.1')]), isIdle([frame(1), cursor('1e.1')])], [true, true, false]);
});

test('values of the wrong type do not stop the client', () => {
    const made = connection();
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo'] });
    lastSocket().accept();
    for (const item of [null, 7, 'text', [], {}, { type: 'attached' }, { type: 'subscribed' }, { type: 'cursor' }]) {
        lastSocket().frame([item]);
    }
    lastSocket().frame([frame(1)]);
    assert.equal(made.messages.at(-1).offset, 1);
    assert.equal(made.state, 'connected');
});
