/** A page without a library: an EventSource with the real server, a network that is cut, and a server that restarts. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { signedToken } from '../support/api.mjs';
import { launch } from '../support/browser.mjs';
import { Gate } from '../support/gate.mjs';
import { Server } from '../support/server.mjs';
import { Site } from '../support/site.mjs';

const LIMIT_MS = 30_000;
const CHANNELS = ['lobby', 'news'];
const CUTS = 5;
const BETWEEN_CUTS = 20;

let browser;

before(async () => {
    browser = await launch();
});
after(() => browser?.close());

/** A token with which the stream makes its connection, also after a restart. */
const token = () => signedToken('ada', 3600, { channels: CHANNELS });

const page = (url) => `<script>
window.numbers = { lobby: [], news: [] };
window.answers = [];
let last = {};
const source = new EventSource('${url}');
source.addEventListener('attached', ({ data }) => {
    const [{ streams }] = JSON.parse(data);
    window.answers.push(streams);
    // A stream of another life counts from the beginning.
    last = Object.fromEntries(Object.entries(last).filter(([name]) => streams[name].reason !== 'epoch'));
});
source.onmessage = ({ data }) => {
    const [{ channel, offset, message }] = JSON.parse(data);
    // Only this may arrive again: events that the server sent together with the last one that arrived.
    if (!(offset <= last[channel])) {
        last[channel] = offset;
        window.numbers[channel].push(message.number);
    }
};
</script>`;

/** A page whose stream passes a gate. */
async function visit(context) {
    const server = await Server.start({ demo: false, settings: { SSE_RETRY_MS: 100 } });
    context.after(() => server.stop());
    const gate = await Gate.start(server);
    context.after(() => gate.stop());
    const url = `${gate.url}/sse?conn_id=${randomUUID()}&token=${token()}`;
    const site = await Site.start(server, { '/': page(url) });
    context.after(() => site.stop());
    const tab = await browser.newPage();
    context.after(() => tab.close());
    tab.setDefaultTimeout(LIMIT_MS);
    await tab.goto(site.url);
    await tab.waitForFunction(() => window.answers.length > 0);
    const send = (channel, number) => site.call('/message', [{ channel, user: 'bob', message: { number } }]);
    return { server, gate, tab, send };
}

test('a stream that is cut loses nothing and shows nothing twice', async (context) => {
    const { gate, tab, send } = await visit(context);
    const total = CUTS * BETWEEN_CUTS;
    for (let number = 0; number < total; number += 1) {
        await Promise.all(CHANNELS.map((channel) => send(channel, number)));
        if (number % BETWEEN_CUTS === BETWEEN_CUTS - 1) {
            await gate.breakAll();
        }
    }
    await tab.waitForFunction(
        (count) => Object.values(window.numbers).every((numbers) => numbers.length >= count), total);
    const expected = [...Array(total).keys()];
    assert.deepEqual(await tab.evaluate(() => window.numbers), { lobby: expected, news: expected });
    const answers = await tab.evaluate(() => window.answers);
    assert.ok(answers.length > 1, 'the stream came back');
    assert.ok(answers.every(({ lobby, news }) => lobby.recovered && news.recovered), JSON.stringify(answers));
});

test('a stream comes back after a restart and learns that its positions are of another life', async (context) => {
    const { server, tab, send } = await visit(context);
    await send('lobby', 1);
    await tab.waitForFunction(() => window.numbers.lobby.length === 1);
    await server.kill('SIGTERM');
    await server.launch();
    await tab.waitForFunction(() => window.answers.at(-1).lobby.reason === 'epoch');
    await send('lobby', 2);
    await tab.waitForFunction(() => window.numbers.lobby.length === 2);
    assert.deepEqual(await tab.evaluate(() => window.numbers.lobby), [1, 2]);
});
