/** Runs the code that the documents contain for authors of pages, unchanged, in a page of a separate application. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from '../support/browser.mjs';
import { blocks } from '../support/documents.mjs';
import { Server } from '../support/server.mjs';
import { Site } from '../support/site.mjs';

const [README_CODE] = blocks('README.md', 'js');
const [PACKAGE_CODE] = blocks('static/channelstream/README.md', 'js');
const MANUAL = 'docs/browser-library.md';
const [CHAT_PAGE] = blocks('docs/websocket-tutorial.md', 'html');

/** From the tutorial of channelstream 0.7.1. */
const TUTORIAL_CODE = `\
import {ChannelStreamConnection} from '@channelstream/channelstream';
let connection = new ChannelStreamConnection();
// this points to your application view
connection.connectUrl = '/connect';
connection.messageUrl = '/message';
// this points to channelstream
connection.websocketUrl = 'ws://127.0.0.1:8000/ws';
connection.longPollUrl = 'http://127.0.0.1:8000/listen';

connection.listenMessageCallback = (messages) => {
    for (let message of messages) {
        console.log('channelstream message', message);
        // Do something on message received
    }
};
// optional
connection.listenOpenedCallback = () => {
    // Do something on websocket opened
};
// this will try to obtain connection UUID from \`connectUrl\` endpoint of your WEB application via XHR call
// and then use it to make websocket connection
connection.connect();
`;

const overLongPoll = (code) => code.replace(/^(await )?connection\.connect\(\);/m, 'connection.noWebsocket = true;\n$&');

let browser;

before(async () => {
    browser = await launch();
});

after(() => browser?.close());

/** Opens a page with this body, which contains the server's default address. Site and server end with the test. */
async function open(context, body, joins = null) {
    const server = await Server.start({ demo: false });
    context.after(() => server.stop());
    const site = await Site.start(server, { '/': body.replaceAll('127.0.0.1:8000', new URL(server.url).host) });
    context.after(() => site.stop());
    site.joins = joins;
    const page = await browser.newPage();
    context.after(() => page.close());
    const problems = [];
    page.on('pageerror', (error) => problems.push(error.message));
    context.after(() => assert.deepEqual(problems, []));
    return { site, page };
}

const moduleOf = (code) => `<script type="module">\n${code}\n</script>`;

/** Waits until a page has joined the channel, then sends a message there. */
async function sayWhenJoined(site, channel, text) {
    for (let there = false; !there;) {
        const { channels } = await site.call('/info', { info: { channels: [channel] } });
        there = channels[channel]?.total_connections === 1;
    }
    return site.call('/message', [{ user: 'system', channel, message: { text } }]);
}

for (const [transport, code] of [['websocket', TUTORIAL_CODE], ['longpoll', overLongPoll(TUTORIAL_CODE)]]) {
    test(`the tutorial's page works over ${transport}`, async (context) => {
        const { site, page } = await open(context, moduleOf(code), ['/tutorial-1']);
        const logged = page.waitForEvent('console', (line) => line.text().startsWith('channelstream message'));
        await page.goto(site.url);
        await sayWhenJoined(site, '/tutorial-1', 'This can serve as notification');
        const message = await (await logged).args()[1].jsonValue();
        assert.equal(message.message.text, 'This can serve as notification');
        assert.deepEqual([message.type, message.user, message.channel], ['message', 'system', '/tutorial-1']);
    });
}

for (const [transport, code] of [['websocket', README_CODE], ['longpoll', overLongPoll(README_CODE)]]) {
    test(`the README's page works over ${transport}`, async (context) => {
        const { site, page } = await open(context, moduleOf(code));
        await page.goto(site.url);
        await sayWhenJoined(site, 'news', 'Hello');
        await page.getByText('system: Hello').waitFor();
    });

    test(`the package's page works over ${transport}`, async (context) => {
        const own = transport === 'longpoll' ? overLongPoll(PACKAGE_CODE) : PACKAGE_CODE;
        const { site, page } = await open(context, moduleOf(own));
        await page.goto(site.url);
        await page.getByText('ada: Hello').waitFor();
    });
}

test("the manual's program prints the expected lines", async (context) => {
    const { site, page } = await open(context, moduleOf(blocks(MANUAL, 'js').join('\n')));
    const expected = [
        'listening over websocket', 'news: subscribing', 'news: subscribed', 'ada: Hello', 'live', 'ada: a slip',
        '0 of 1 are new', '1000', 'refused with 403', 'chess', '1 are here', 'ada',
        'log state {"state":"disconnected","previous":"connected","reason":"closed"}',
    ];
    const [lines, tokens] = [[], []];
    page.on('console', (line) => lines.push(line.text()));
    // The program does not wait for its last message: it closes the connection when the response arrives.
    page.on('request', (request) => tokens.push(request.headers()['x-csrf-token']));
    const hasValue = () => lines.some((line) => line.startsWith('3 a value.ZVPxAA.'));
    // The parts of the program do not wait for each other, so any line may be the last one.
    const all = page.waitForEvent('console', () => hasValue() && expected.every((line) => lines.includes(line)));
    await page.goto(site.url);
    await all.catch(() => {});
    for (const line of expected) {
        assert.ok(lines.includes(line), `${JSON.stringify(line)} is not among\n${lines.join('\n')}`);
    }
    assert.ok(hasValue());
    assert.ok(tokens.includes('from the page'), 'no request was changed by the mutators');
});

test("the manual's classic script works", async (context) => {
    const [markup] = blocks(MANUAL, 'html');
    const { site, page } = await open(context, markup);
    await page.goto(site.url);
    assert.equal(await page.evaluate('connection.state'), 'disconnected');
});

test("the websocket tutorial's page works from any address", async (context) => {
    const server = await Server.start();
    context.after(() => server.stop());
    const visit = async () => {
        const page = await browser.newPage();
        context.after(() => page.close());
        const opened = page.waitForEvent('websocket');
        await page.setContent(CHAT_PAGE.replaceAll('127.0.0.1:8000', new URL(server.url).host));
        // Chromium reports a socket when it starts to open.
        await opened;
        await page.waitForFunction('chat.readyState === WebSocket.OPEN');
        return page;
    };
    const [ada, bob] = [await visit(), await visit()];
    await ada.getByLabel('Message').fill('<b>hello</b>');
    await ada.keyboard.press('Enter');
    for (const page of [ada, bob]) {
        await page.getByRole('listitem').getByText('<b>hello</b>', { exact: true }).waitFor();
    }
    assert.equal(await ada.getByLabel('Message').inputValue(), '');
});
