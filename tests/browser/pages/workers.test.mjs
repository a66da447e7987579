/** The browser library without a page: in a service worker of Chromium, and in Node. Neither has XMLHttpRequest. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Tab, launch } from '../support/browser.mjs';
import { LIBRARY } from '../support/bundle.mjs';
import { Server } from '../support/server.mjs';
import { Site } from '../support/site.mjs';

let browser;
let server;
let site;

const worker = ({ url }, more = '') => `
    import { ChannelStreamConnection } from '/channelstream/index.js';
    self.xhr = typeof XMLHttpRequest;
    self.seen = [];
    const connection = self.connection = new ChannelStreamConnection({
        connectUrl: '/connect', messageUrl: '/message', subscribeUrl: '/subscribe', websocketUrl: '${url.replace('http', 'ws')}/ws',
        longPollUrl: '${url}/listen', disconnectUrl: '${url}/disconnect', username: 'worker', increaseBounceIv: 100, ${more}
    });
    connection.on('message', ({ message }) => self.seen.push(message.number));
    connection.on('error', ({ code, status }) => self.seen.push(code + ' ' + status));
    connection.channel('lobby').subscribe();
    self.addEventListener('install', () => self.skipWaiting());
    connection.connect();
`;

before(async () => {
    server = await Server.start();
    site = await Site.start(server, { '/': 'A page' });
    site.pages['/websocket.js'] = worker(server);
    site.pages['/longpoll.js'] = worker(server, 'noWebsocket: true,');
    browser = await launch();
});
after(async () => {
    await browser?.close();
    await site?.stop();
    await server?.stop();
});

async function until(condition, what) {
    for (const end = Date.now() + 20_000; Date.now() < end; await pause(20)) {
        if (await condition()) {
            return;
        }
    }
    assert.fail(what);
}

for (const transport of ['websocket', 'longpoll']) {
    test(`a service worker listens over ${transport}, and reconnects after a failed connect`, async (context) => {
        const tab = await Tab.open(browser, site, { serviceWorkers: 'allow' });
        context.after(() => tab.close());
        await tab.go('/');
        // The application is unavailable at first.
        const view = site.views['/connect'];
        site.views['/connect'] = async () => ({ status: 502, body: '<html>' });
        const started = tab.context.waitForEvent('serviceworker');
        await tab.page.evaluate((file) => navigator.serviceWorker.register(file, { type: 'module' }).then(() => {}), `/${transport}.js`);
        const running = await started;
        await until(() => running.evaluate(() => self.seen?.includes('refused 502')), 'the failed call is an event');
        site.views['/connect'] = view;
        await until(() => running.evaluate(() => self.connection.state === 'connected'), 'it connects');
        assert.deepEqual(await running.evaluate(() => [self.xhr, self.connection.transport]), ['undefined', transport]);
        await running.evaluate(() => { self.seen.length = 0; });
        const first = site.sent;
        await site.sendMany(5);
        await until(() => running.evaluate(() => self.seen.length === 5), 'its frames arrive');
        assert.deepEqual(await running.evaluate(() => self.seen), Array.from({ length: 5 }, (_, at) => first + at));
        const sent = await running.evaluate(() => self.connection.message({ user: 'worker', channel: 'lobby', message: { number: -1 } })
            .then(() => 'sent'));
        assert.equal(sent, 'sent');
        await until(() => running.evaluate(() => self.seen.includes(-1)), 'its own message arrives');
        await running.evaluate(() => self.connection.closeConnection());
    });
}

test('Node receives messages', async (context) => {
    const program = `
        import { ChannelStreamConnection } from '${new URL('index.js', LIBRARY)}';
        const connection = new ChannelStreamConnection({
            connectUrl: '${site.url}/connect', subscribeUrl: '${site.url}/subscribe', websocketUrl: '${server.url.replace('http', 'ws')}/ws',
            longPollUrl: '${server.url}/listen', username: 'node',
        });
        connection.on('message', ({ message }) => console.log('number', message.number));
        connection.channel('lobby').subscribe();
        await connection.connect();
        console.log('open', typeof XMLHttpRequest);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] });
    context.after(() => child.kill());
    let output = '';
    child.stdout.on('data', (text) => { output += text; });
    child.stderr.on('data', (text) => { output += text; });
    await until(() => output.includes('open undefined'), 'it connects');
    const first = site.sent;
    await site.sendMany(3);
    await until(() => output.includes(`number ${first + 2}`), `its frames arrive: ${output}`);
    assert.deepEqual(output.match(/number \d+/g), [0, 1, 2].map((at) => `number ${first + at}`));
});
