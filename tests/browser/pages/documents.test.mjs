/** The code that documents give to authors of pages, run as it is written in a page of an application's own. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { Application } from '../support/application.mjs';
import { launch } from '../support/browser.mjs';
import { Server } from '../support/server.mjs';

const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
const [, README_CODE] = readme.match(/^```js\n(.*?)^```$/ms);

/** From the original's tutorial. */
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

const overLongPoll = (code) => code.replace('connection.connect();', 'connection.noWebsocket = true;\n$&');

let browser;

before(async () => {
    browser = await launch();
});

after(() => browser?.close());

/** Opens a page with this code; its application and server end with the test. */
async function open(context, code) {
    const server = await Server.start({ demo: false });
    context.after(() => server.stop());
    const application = await Application.start(server, code);
    context.after(() => application.stop());
    const page = await browser.newPage();
    context.after(() => page.close());
    const problems = [];
    page.on('pageerror', (error) => problems.push(error.message));
    context.after(() => assert.deepEqual(problems, []));
    return { application, page };
}

for (const [transport, code] of [['websocket', TUTORIAL_CODE], ['longpoll', overLongPoll(TUTORIAL_CODE)]]) {
    test(`the tutorial's page over ${transport}`, async (context) => {
        const { application, page } = await open(context, code);
        const logged = page.waitForEvent('console', (line) => line.text().startsWith('channelstream message'));
        await page.goto(application.url);
        await application.sayOnceThereIs(1, 'This can serve as notification');
        const message = await (await logged).args()[1].jsonValue();
        assert.equal(message.message.text, 'This can serve as notification');
        assert.deepEqual([message.type, message.user, message.channel], ['message', 'system', '/tutorial-1']);
    });
}

for (const [transport, code] of [['websocket', README_CODE], ['longpoll', overLongPoll(README_CODE)]]) {
    test(`the README's page over ${transport}`, async (context) => {
        const { application, page } = await open(context, code);
        await page.goto(application.url);
        await application.sayOnceThereIs(1, 'Hello');
        await page.getByText('system: Hello').waitFor();
    });
}
