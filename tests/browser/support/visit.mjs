/** A listening page of a separate site, with a gate between the page and the server. */
import assert from 'node:assert/strict';

import { Gate } from './gate.mjs';
import { Server } from './server.mjs';
import { Site } from './site.mjs';

const LIMIT_MS = 60_000;

/** A page that listens to the lobby and records its events. */
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
window.reported = [];
connection.on('message', ({ message }) => window.numbers.push(message.number));
lobby.on('message', ({ message }) => window.reported.push(message.number));
lobby.on('history', ({ missed }) => {
    window.missed = missed.map(({ message }) => message.number);
    window.reported.push(...window.missed);
});
window.addEventListener('pageshow', ({ persisted }) => persisted && window.log.push('pageshow persisted'));
for (const name of ['freeze', 'resume']) {
    document.addEventListener(name, () => window.log.push(name));
}
document.addEventListener('visibilitychange', () => document.hidden || window.log.push('visible'));
connection.connect();
</script>`;

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

/** Starts a server, a gate, a site, and a listening page of the site. All end with the test. */
export async function visit(context, browser, { options = {}, settings = {}, websockets = 'pass', path = '/' } = {}) {
    // Buffers that are large enough for every test.
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
        const count = site.sent;
        await tab.waitForFunction((wanted) => window.numbers.at(-1) === wanted, count - 1, { timeout: LIMIT_MS });
        assert.deepEqual(await tab.evaluate(() => window.numbers), [...Array(count).keys()], 'each number once, in order');
    };
    visitor.ids = () => tab.evaluate(() => window.ids.size);
    visitor.log = () => tab.evaluate(() => window.log);
    return visitor;
}
