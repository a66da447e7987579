/** The browser library in Chromium, against the real server, with networks that fail. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch } from '../support/browser.mjs';
import { Gate } from '../support/gate.mjs';
import { Server } from '../support/server.mjs';
import { Site } from '../support/site.mjs';
import { Tabs } from '../support/tab.mjs';

const LIMIT_MS = 60_000;

/** A page that listens in the lobby, and notes what it gets. */
const page = (gate, options = {}) => `<script type="module">
import { ChannelStreamConnection } from 'channelstream-browser';

const connection = new ChannelStreamConnection({
    connectUrl: '/connect',
    subscribeUrl: '/subscribe',
    unsubscribeUrl: '/unsubscribe',
    messageUrl: '/message',
    infoUrl: '/info',
    websocketUrl: '${gate.url.replace('http', 'ws')}/ws',
    longPollUrl: '${gate.url}/listen',
    disconnectUrl: '${gate.url}/disconnect',
    username: 'ada',
    channels: ['lobby'],
    increaseBounceIv: 200,
    ...${JSON.stringify(options)},
});
const lobby = connection.channel('lobby');
window.connection = connection;
window.numbers = [];
window.log = [];
window.ids = new Set();
connection.on('connect', ({ connectionId }) => window.ids.add(connectionId));
connection.on('open', ({ transport, resumed }) => window.log.push(transport + (resumed ? ' resumed' : '')));
connection.on('state', ({ state, reason }) => window.log.push(state + ': ' + reason));
window.told = [];
connection.on('message', ({ message }) => window.numbers.push(message.number));
lobby.on('message', ({ message }) => window.told.push(message.number));
lobby.on('history', ({ missed }) => {
    window.missed = missed.map(({ message }) => message.number);
    window.told.push(...window.missed);
});
window.addEventListener('pageshow', ({ persisted }) => persisted && window.log.push('pageshow persisted'));
for (const name of ['freeze', 'resume']) {
    document.addEventListener(name, () => window.log.push(name));
}
document.addEventListener('visibilitychange', () => document.hidden || window.log.push('visible'));
connection.connect();
</script>`;

let browser;

before(async () => {
    // Playwright switches off what pages in the wild have.
    browser = await launch({ ignoreDefaultArgs: ['--disable-back-forward-cache'] });
});
after(() => browser?.close());

/** A server, a gate before it, a site, and a page of it that is listening; all end with the test. */
async function visit(context, { options = {}, settings = {}, websockets = 'pass', path = '/' } = {}) {
    // Buffers that reach back as far as any test does.
    const server = await Server.start({ demo: false, settings: { CHANNEL_FRAMES: 10_000, ...settings } });
    context.after(() => server.stop());
    const gate = await Gate.start(server);
    context.after(() => gate.stop());
    gate.websockets = websockets;
    const site = await Site.start(server, { '/': page(gate, options), '/classic': classic(gate) });
    context.after(() => site.stop());
    const profile = await browser.newContext();
    context.after(() => profile.close());
    profile.setDefaultTimeout(LIMIT_MS);
    const tab = await profile.newPage();
    const problems = [];
    tab.on('pageerror', (error) => problems.push(error.message));
    context.after(() => assert.deepEqual(problems, []));
    await tab.goto(site.url + path);
    const visitor = { server, gate, site, tab, profile };
    visitor.listensOver = (transport) => tab.waitForFunction(
        (wanted) => window.connection?.transport === wanted, transport, { timeout: LIMIT_MS });
    visitor.hasAll = async () => {
        const count = site.said;
        await tab.waitForFunction((wanted) => window.numbers.at(-1) === wanted, count - 1, { timeout: LIMIT_MS });
        assert.deepEqual(await tab.evaluate(() => window.numbers), [...Array(count).keys()], 'each once, in order');
    };
    visitor.ids = () => tab.evaluate(() => window.ids.size);
    visitor.log = () => tab.evaluate(() => window.log);
    return visitor;
}

const classic = (gate) => `<script src="/channelstream/channelstream.min.js"></script>
<script>
    var connection = new ChannelStream.ChannelStreamConnection();
    connection.connectUrl = '/connect';
    connection.websocketUrl = '${gate.url.replace('http', 'ws')}/ws';
    connection.channels = ['lobby'];
    var numbers = [];
    connection.listenMessageCallback = function (frames) {
        frames.forEach(function (frame) { numbers.push(frame.message.number); });
    };
    connection.connect();
</script>`;

const TRANSPORTS = [['websocket', {}], ['longpoll', { noWebsocket: true }]];

for (const [transport, options] of TRANSPORTS) {
    describe(`over ${transport}`, () => {
        test('connections that break lose and repeat nothing', async (context) => {
            const { gate, site, listensOver, hasAll, ids } = await visit(context, { options });
            await listensOver(transport);
            const stop = site.keepSaying();
            for (let turn = 0; turn < 8; turn += 1) {
                await site.sayMany(20);
                await gate.breakAll();
            }
            await stop();
            await listensOver(transport);
            await hasAll();
            assert.equal(await ids(), 1, 'it was one connection all the time');
        });

        test('a server that was killed is found again, and channels are joined again', async (context) => {
            const { server, site, tab, listensOver, ids } = await visit(context, { options });
            await listensOver(transport);
            await tab.evaluate(() => window.connection.channel('news').subscribe());
            await server.kill('SIGKILL');
            await tab.waitForFunction(() => window.connection.state === 'reconnecting');
            await server.launch();
            await listensOver(transport);
            assert.equal(await ids(), 2);
            await tab.waitForFunction(() => window.connection.channel('news').state === 'subscribed');
            await site.sayMany(5, 'news');
            await tab.waitForFunction(() => window.numbers.length === 5);
            assert.deepEqual(await tab.evaluate(() => window.connection.channels), ['lobby', 'news']);
        });

        test('what the application leaves out of a new connection is asked for', async (context) => {
            const { server, site, tab, listensOver } = await visit(context, { options });
            site.joins = ['lobby'];
            await listensOver(transport);
            await tab.evaluate(() => window.connection.channel('news').subscribe());
            await server.kill('SIGKILL');
            await server.launch();
            await tab.waitForFunction(() => window.ids.size === 2 && window.connection.channel('news').state === 'subscribed');
            assert.deepEqual(site.calls.filter((call) => call.includes('subscribe')), Array(2).fill('POST /subscribe'));
            await site.say('news');
            await tab.waitForFunction(() => window.numbers.length === 1);
        });

        test('a connection that the server has forgotten is replaced, and the history fills the gap', async (context) => {
            const settings = { GRACE_TIME_MS: 300, PART_DELAY_MS: 50, CONNECTION_IDLE_TIMEOUT_MS: 300 };
            const { gate, site, tab, listensOver, ids } = await visit(context, { options, settings });
            await listensOver(transport);
            await site.sayMany(3);
            await tab.waitForFunction(() => window.numbers.length === 3);
            await tab.evaluate(() => { window.connection.increaseBounceIv = 100_000; });
            await gate.close();
            await site.sayMany(4);
            const [id] = await tab.evaluate(() => [...window.ids]);
            const isKnown = { conn_id: id, channels: ['none of its own'] };
            while ((await site.forward('POST', '/unsubscribe', isKnown)).status === 200);
            gate.open();
            await tab.evaluate(() => window.dispatchEvent(new Event('online')));
            await tab.waitForFunction(() => window.ids.size === 2 && window.connection.connected);
            assert.equal(await ids(), 2);
            assert.deepEqual(await tab.evaluate(() => window.missed), [3, 4, 5, 6]);
            assert.equal(site.calls.filter((call) => call === 'POST /info').length, 0, 'connect() has told it');
            await site.say();
            await tab.waitForFunction(() => window.numbers.at(-1) === 7);
            const kept = await tab.evaluate(() => window.connection.channel('lobby').messages.map((m) => m.message.number));
            assert.deepEqual(kept, [0, 1, 2, 3, 4, 5, 6, 7]);
        });

        test('a browser that was offline is back at once, and asks for what it may have missed', async (context) => {
            // Heartbeats often, so that the silence is noticed soon; pauses long, so that only events shorten them.
            const settings = { HEARTBEAT_INTERVAL_MS: 400 };
            const made = await visit(context, { options: { ...options, increaseBounceIv: 100_000 }, settings });
            const { gate, site, tab, profile, listensOver, ids } = made;
            await listensOver(transport);
            await site.sayMany(3);
            await tab.waitForFunction(() => window.numbers.length === 3);
            // Two heartbeats, or a poll that had to wait, tell how often the server lets hear from itself.
            await tab.waitForFunction(() => {
                const { listener } = window.connection._listening;
                return (listener.rhythm ?? listener).longestMs !== null;
            });
            await profile.setOffline(true);
            gate.vanish();
            assert.equal(await tab.evaluate(() => navigator.onLine), false);
            await site.sayMany(10);
            await tab.waitForFunction(() => window.connection.state === 'reconnecting');
            gate.comeBack();
            await profile.setOffline(false);
            await listensOver(transport);
            await site.sayMany(3);
            await tab.waitForFunction(() => window.numbers.at(-1) === 15);
            assert.equal(await ids(), 1);
            // What the server's system took for a dead socket is lost for it; the history has it.
            await tab.waitForFunction(() => window.told.length >= 16);
            const all = [...Array(16).keys()];
            assert.deepEqual((await tab.evaluate(() => window.told)).sort((one, other) => one - other), all);
            const kept = await tab.evaluate(() => window.connection.channel('lobby').messages.map((m) => m.message.number));
            assert.deepEqual(kept, all);
        });

        test('a page from the back/forward cache goes on where it was', async (context) => {
            const { site, tab, listensOver, hasAll, ids, log } = await visit(context, { options });
            await listensOver(transport);
            await site.sayMany(3);
            await hasAll();
            await tab.goto(`${site.url}/elsewhere`);
            await site.sayMany(5);
            await tab.evaluate(() => history.back());
            await tab.waitForFunction(() => window.connection?.connected);
            assert.ok((await log()).includes('pageshow persisted'), 'the browser has kept the page');
            await site.sayMany(2);
            await hasAll();
            assert.equal(await ids(), 1);
        });

        test('a page that was hidden and frozen goes on', async (context) => {
            const { site } = await visit(context, { options, path: '/elsewhere' });
            const tabs = await Tabs.of(browser);
            const tab = await tabs.open(site.url);
            await tab.waitFor(`window.connection?.transport === '${transport}'`);
            const other = await tabs.open(`${site.url}/elsewhere`);
            await tab.waitFor("document.visibilityState === 'hidden'");
            await site.sayMany(3);
            await tab.waitFor('numbers.length === 3');
            await tab.lifecycle('frozen');
            await tab.waitFor("log.includes('freeze')");
            await site.sayMany(5);
            await tab.lifecycle('active');
            await tab.show();
            await site.sayMany(2);
            await tab.waitFor('numbers.at(-1) === 9');
            assert.deepEqual(await tab.evaluate('numbers'), [...Array(10).keys()]);
            assert.deepEqual(await tab.evaluate('log.filter((line) => /^(freeze|resume|visible)/.test(line))'),
                ['freeze', 'resume', 'visible']);
            assert.equal(await tab.evaluate('ids.size'), 1);
            await other.close();
            await tab.close();
        });

        test('a page that is shown does not wait for its next attempt', async (context) => {
            const { gate, site } = await visit(context, { options: { ...options, increaseBounceIv: 1e9 }, path: '/elsewhere' });
            const tabs = await Tabs.of(browser);
            const tab = await tabs.open(site.url);
            await tab.waitFor(`window.connection?.transport === '${transport}'`);
            const other = await tabs.open(`${site.url}/elsewhere`);
            await tab.evaluate('connection.maxReconnectDelayMs = 1e9');
            await gate.breakAll();
            await tab.waitFor("connection.state === 'reconnecting'");
            await tab.show();
            await tab.waitFor('connection.connected');
            assert.equal(await tab.evaluate('ids.size'), 1);
            await other.close();
            await tab.close();
        });

        test('who is there is known, also after others came and went', async (context) => {
            const { site, tab, listensOver } = await visit(context, { options });
            await listensOver(transport);
            const members = (wanted) => tab.waitForFunction(
                (names) => window.connection.channel('lobby').members.map(({ user }) => user).join() === names, wanted);
            await members('ada');
            const { conn_id: id } = await site.call('/connect', { username: 'bob', channels: ['lobby'] });
            await members('ada,bob');
            await site.call('/user_state', { user: 'bob', user_state: { color: 'red' }, state_public_keys: ['color'] });
            await tab.waitForFunction(() => window.connection.channel('lobby').members[1].state.color === 'red');
            await site.call('/disconnect', { conn_id: id });
            await members('ada');
        });
    });
}

test('where websockets are refused it polls, and changes back when they are not, losing nothing', async (context) => {
    const { gate, site, listensOver, hasAll, ids, log } = await visit(context, { websockets: 'refuse' });
    await listensOver('longpoll');
    const stop = site.keepSaying();
    await site.sayMany(20);
    gate.websockets = 'pass';
    await listensOver('websocket');
    await site.sayMany(20);
    await stop();
    await hasAll();
    assert.equal(await ids(), 1);
    assert.deepEqual(await log(), ['connecting: connect', 'connected: open', 'longpoll', 'websocket resumed']);
});

test('a handshake whose answer is swallowed costs only the wait for it', async (context) => {
    const { gate, site, tab, listensOver, hasAll, log } = await visit(context, { websockets: 'swallow' });
    await listensOver('longpoll');
    const stop = site.keepSaying();
    // Probes are swallowed as well, and no frame with them.
    const handshakes = gate.handshakes;
    while (gate.handshakes < handshakes + 1) {
        await site.sayMany(20);
    }
    gate.websockets = 'pass';
    await listensOver('websocket');
    await stop();
    await hasAll();
    assert.deepEqual((await log()).filter((line) => !line.includes(':')), ['longpoll', 'websocket resumed']);
    assert.equal(await tab.evaluate(() => window.ids.size), 1);
});

test('a network that begins to refuse websockets is polled through, with the same id', async (context) => {
    const { gate, site, listensOver, hasAll, ids } = await visit(context);
    await listensOver('websocket');
    const stop = site.keepSaying();
    await site.sayMany(20);
    gate.websockets = 'refuse';
    await gate.breakAll();
    await listensOver('longpoll');
    await site.sayMany(20);
    gate.websockets = 'pass';
    await listensOver('websocket');
    await stop();
    await hasAll();
    assert.equal(await ids(), 1);
});

test('a page that is closed says goodbye at once, if it is told to', async (context) => {
    const options = { disconnectOnPagehide: true, noWebsocket: true };
    const settings = { CONNECTION_IDLE_TIMEOUT_MS: 600_000 };
    const { site, tab, listensOver } = await visit(context, { options, settings });
    await listensOver('longpoll');
    await tab.close({ runBeforeUnload: true });
    for (let there = true; there;) {
        const { channels } = await site.call('/info', { info: { channels: ['lobby'] } });
        there = channels.lobby.total_connections > 0;
    }
});

test('a second socket with its id ends a connection for good', async (context) => {
    const { gate, tab, listensOver, log } = await visit(context);
    await listensOver('websocket');
    await tab.evaluate((url) => {
        window.other = new WebSocket(`${url}/ws?conn_id=${window.connection.connectionId}`);
    }, gate.url.replace('http', 'ws'));
    await tab.waitForFunction(() => window.connection.state === 'disconnected');
    assert.equal((await log()).at(-1), 'disconnected: taken-over');
    assert.equal(await tab.evaluate(() => window.other.readyState), 1);
});

test('a classic script does the same', async (context) => {
    const { site, hasAll, tab } = await visit(context, { path: '/classic' });
    await tab.waitForFunction(() => window.connection.connected);
    await site.sayMany(3);
    await hasAll();
});
