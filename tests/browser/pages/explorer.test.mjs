/** The API explorer in a real browser: it shows the contents of the document, and the server answers its requests. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility } from '../support/axe.js';
import { Tab, launch } from '../support/browser.mjs';
import { ADMIN, SECRET, Server } from '../support/server.mjs';

const HEADER = 'x-channelstream-secret';

let browser;
let server;
let tab;
let api;

before(async () => {
    browser = await launch();
    server = await Server.start();
    tab = await Tab.open(browser, server);
    await tab.go('/api-explorer');
    await tab.page.getByLabel('User name').fill(ADMIN.username);
    await tab.page.getByLabel('Password').fill(ADMIN.password);
    await tab.page.getByRole('button', { name: 'Sign in' }).click();
    await tab.page.waitForURL('**/admin');
    api = await (await tab.context.request.get(`${server.url}/openapi-3.1.json`)).json();
    await load();
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

async function load() {
    await tab.go('/api-explorer');
    await tab.page.locator('.opblock').first().waitFor();
}

const operations = () => Object.entries(api.paths).flatMap(([path, item]) => Object.entries(item)
    .map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, method, path, operation })));

function endpoint(name) {
    const { operation } = operations().find((one) => one.name === name);
    return tab.page.locator(`#operations-${operation.tags[0]}-${operation.operationId}`);
}

async function open(name) {
    const block = endpoint(name);
    const summary = block.locator('.opblock-summary-control');
    if (await summary.getAttribute('aria-expanded') === 'false') {
        await summary.click();
    }
    await block.getByRole('button', { name: 'Execute' }).waitFor();
    return block;
}

const typeSecret = (secret) => tab.page.getByLabel('Secret of the server').fill(secret);

/** Sends the form of an endpoint. Returns the request, and the status and reply that the page shows. */
async function send(name) {
    const block = await open(name);
    const { method, path } = operations().find((one) => one.name === name);
    const address = new RegExp(`^${path.replace(/\{\w+\}/, '.*')}$`);
    const [answered] = await Promise.all([
        tab.page.waitForResponse((response) => response.request().method() === method.toUpperCase()
            && address.test(new URL(response.url()).pathname)),
        block.getByRole('button', { name: 'Execute' }).click(),
    ]);
    const shown = block.locator('.live-responses-table .response');
    await shown.locator('.response-col_status', { hasText: String(answered.status()) }).waitFor();
    const reply = await shown.locator('.highlight-code pre').first().textContent();
    return { request: answered.request(), status: answered.status(), reply };
}

test('the page shows every endpoint of the document', async () => {
    const shown = await tab.page.locator('.opblock').evaluateAll((all) => all.map((block) => {
        const [method, path] = ['method', 'path'].map((part) => block.querySelector(`.opblock-summary-${part}`));
        return `${method.textContent} ${path.dataset.path}`;
    }));
    assert.deepEqual(shown.toSorted(), operations().map(({ name }) => name).toSorted());
    assert.equal(await endpoint('POST /connect').getByText('signed', { exact: true }).count(), 1);
    assert.equal(await endpoint('GET /listen').getByText('signed', { exact: true }).count(), 0);
    tab.assertNoProblems();
});

test('an endpoint shows its fields, limits, responses and errors', async () => {
    const connect = await open('POST /connect');
    const statuses = await connect.locator('.response[data-code]').evaluateAll((all) => all.map(({ dataset }) => dataset.code));
    assert.deepEqual(statuses, Object.keys(api.paths['/connect'].post.responses));
    await connect.getByRole('tab', { name: 'Schema' }).first().click();
    const body = connect.locator('.opblock-section-request-body');
    const fields = await body.locator('[data-json-schema-level="1"] > .json-schema-2020-12-head .json-schema-2020-12__title')
        .allTextContents();
    assert.deepEqual(fields, Object.keys(api.components.schemas.ConnectBody.properties));
    await body.getByText('[1, 512] characters').waitFor();
    await connect.locator('[data-code="403"]').getByText('signature-missing').first().waitFor();
    await connect.getByRole('tab', { name: 'Edit Value' }).click();
    tab.assertNoProblems();
});

test('the page shows the refusal of a request without the secret', async () => {
    tab.toleratesNetworkErrors = true;
    const { status, reply, request } = await send('POST /connect');
    assert.equal(status, 403);
    assert.equal(request.headers()[HEADER], undefined);
    assert.match(reply, /403 Forbidden/);
});

test('the page shows the refusal of a wrong secret', async () => {
    await typeSecret('not the secret');
    const { status, reply } = await send('POST /connect');
    assert.deepEqual([status, JSON.parse(reply)], [401, { request: 'Bad Signature' }]);
    tab.toleratesNetworkErrors = false;
});

test('the browser signs the examples, and the server accepts them', async () => {
    await typeSecret(SECRET);
    const { request, reply } = await send('POST /connect');
    assert.match(request.headers()[HEADER], /^channelstream\.[\w-]+\.[\w-]+$/);
    assert.equal(JSON.parse(reply).username, 'ada');
    for (const name of ['POST /subscribe', 'POST /user_state', 'POST /message', 'PATCH /message', 'DELETE /message',
        'POST /channel_config', 'POST /info', 'GET /info', 'POST /demo/connect', 'GET /admin/channels.json']) {
        assert.equal((await send(name)).status, 200, name);
    }
    const sent = JSON.parse((await send('POST /message')).reply);
    assert.equal(sent[0].message.text, 'hi');
    const shown = endpoint('POST /message').locator('.live-responses-table');
    assert.match(await shown.textContent(), /content-type: application\/json/);
    tab.assertNoProblems();
});

test('the page is accessible in both colour schemes and on every screen', async () => {
    await load();
    await typeSecret(SECRET);
    await send('POST /connect');
    await open('GET /admin/connections.json');
    await open('POST /admin/sign_in');
    for (const schema of await tab.page.getByRole('tab', { name: 'Schema' }).all()) {
        await schema.click();
    }
    for (const colorScheme of ['light', 'dark']) {
        await tab.page.emulateMedia({ colorScheme });
        await checkAccessibility(tab.page);
    }
    for (const width of [360, 1920]) {
        await tab.page.setViewportSize({ width, height: 900 });
        assert.ok(await tab.page.evaluate(() => document.documentElement.scrollWidth) <= width, `${width}`);
        await checkAccessibility(tab.page);
    }
    await tab.page.setViewportSize({ width: 1280, height: 900 });
    await load();
    await open('POST /connect');
    await tab.portray('explorer');
    await typeSecret(SECRET);
    tab.assertNoProblems();
});

test('every opened endpoint fits on every screen', async () => {
    await load();
    const tooWide = [];
    for (const { name } of operations()) {
        const block = await open(name);
        await block.locator('.responses-table').first().waitFor();
        for (const width of [360, 1280]) {
            await tab.page.setViewportSize({ width, height: 900 });
            const needed = await tab.page.evaluate(() => document.documentElement.scrollWidth);
            if (needed > width) {
                tooWide.push(`${name} needs ${needed} of ${width}`);
            }
        }
        await block.locator('.opblock-summary-control').click();
    }
    assert.deepEqual(tooWide, []);
    await tab.page.setViewportSize({ width: 1280, height: 900 });
    await typeSecret(SECRET);
    tab.assertNoProblems();
});

test('the page works with the keyboard alone', async () => {
    await endpoint('POST /info').locator('.opblock-summary-control').focus();
    await tab.page.keyboard.press('Enter');
    const send = endpoint('POST /info').getByRole('button', { name: 'Execute' });
    await send.waitFor();
    await send.focus();
    await tab.page.keyboard.press('Enter');
    await endpoint('POST /info').locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor();
    tab.assertNoProblems();
});

test('the secret is neither stored nor sent', async () => {
    const kept = await tab.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.ok(!kept.includes(SECRET), kept);
    const { request } = await send('POST /info');
    assert.ok(!JSON.stringify([request.url(), await request.allHeaders(), request.postData()]).includes(SECRET));
    await load();
    assert.equal(await tab.page.getByLabel('Secret of the server').inputValue(), '');
    await typeSecret(SECRET);
});

test('parameters go into the query, and the page reports invalid JSON without a request', async () => {
    await send('POST /connect');
    const listen = await open('GET /listen');
    await listen.getByLabel('callback').fill('show');
    const { request, reply } = await send('GET /listen');
    assert.equal(new URL(request.url()).searchParams.get('callback'), 'show');
    assert.match(reply, /^show\(\[/);
    const info = await open('POST /info');
    let requested = false;
    tab.page.on('request', (sent) => { requested ||= sent.url().endsWith('/info'); });
    await info.getByLabel('Body (JSON)').fill('{"info": ');
    await info.getByRole('button', { name: 'Execute' }).click();
    await info.getByText('The body is not JSON').first().waitFor();
    assert.ok(!requested);
    tab.assertNoProblems();
});

test('a path keeps its slashes', async () => {
    const { request, status, reply } = await send('GET /static/{path}');
    assert.equal(new URL(request.url()).pathname, '/static/channelstream/index.js');
    assert.equal(status, 200);
    assert.match(reply, /ChannelStreamConnection/);
});

test('a websocket can be opened and closed, and shows its frames', async () => {
    const { conn_id: id } = JSON.parse((await send('POST /connect')).reply);
    const form = tab.page.locator('#listen');
    await form.getByLabel('conn_id of a connection').fill(id);
    await form.getByRole('button', { name: 'Open a socket' }).click();
    await form.locator('.state[data-state="open"]').waitFor();
    await send('POST /message');
    const frame = form.locator('.log li', { hasText: '"text":"hi"' }).last();
    await frame.waitFor();
    assert.equal(JSON.parse(await frame.textContent())[0].channel, 'lobby');
    await checkAccessibility(tab.page);
    await form.getByRole('button', { name: 'Close the socket' }).click();
    await form.getByText('Closed with 1000').waitFor();
    tab.assertNoProblems();
});

test('a signed-in operator can send commands without the secret', async () => {
    await typeSecret('');
    const record = await send('POST /admin/record');
    assert.deepEqual([record.status, JSON.parse(record.reply)], [200, { recording: true }]);
    assert.ok(record.request.headers()['x-csrf-token']);
    assert.equal(record.request.headers()[HEADER], undefined);
    tab.assertNoProblems();
});

test('the search finds endpoints by words, and an address opens one', async () => {
    const find = tab.page.getByLabel('Find an endpoint');
    await find.fill(api.paths['/message'].patch.summary.toLowerCase());
    await endpoint('POST /connect').waitFor({ state: 'detached' });
    assert.equal(await endpoint('PATCH /message').count(), 1);
    await find.fill('nothing of this name');
    await tab.page.getByText('No endpoint matches.').waitFor();
    await find.fill('');
    await endpoint('POST /connect').waitFor();
    await tab.page.goto('about:blank');
    await tab.go('/api-explorer#/backends/setUserState');
    await endpoint('POST /user_state').getByRole('button', { name: 'Execute' }).waitFor();
    tab.assertNoProblems();
});

test('without the OpenAPI document the page shows the Swagger summary, and without both it reports the error', async () => {
    tab.toleratesNetworkErrors = true;
    await tab.page.route('**/openapi-3.1.json', (route) => route.fulfill({ status: 503, body: '{}' }));
    await tab.page.reload();
    await tab.page.locator('[id="operations-backends-post_connect"]').waitFor();
    await tab.page.route('**/openapi.json', (route) => route.fulfill({ status: 503, body: '{}' }));
    await tab.page.reload();
    await tab.page.getByRole('alert').filter({ hasText: 'The server answered 503.' }).waitFor();
    await tab.page.unrouteAll();
    tab.assertNoProblems();
});

test('the source keeps the two texts that deployments replace', async () => {
    const source = await (await tab.context.request.get(`${server.url}/api-explorer`)).text();
    assert.ok(source.includes(`from '${server.url}/static/channelstream/index.js'`));
    assert.ok(source.includes(`${server.url}/openapi.json`));
    assert.ok(!source.includes('{{'));
});
