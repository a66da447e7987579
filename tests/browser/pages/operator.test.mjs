/** Real browsers on the operator's pages: sign-in, admin, API explorer. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Tab, launch } from '../support/browser.mjs';
import { ADMIN, SECRET, Server } from '../support/server.mjs';
import { Visitor } from '../support/visitor.mjs';

let browser;
let server;
let visitor;
let tab;

before(async () => {
    browser = await launch();
    server = await Server.start();
    visitor = await Visitor.join(browser, server, 'ada', 'websocket');
    await visitor.say('for the history');
    await visitor.sees('for the history');
    tab = await Tab.open(browser, server);
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

async function signIn(password) {
    await tab.page.getByLabel('User name').fill(ADMIN.username);
    await tab.page.getByLabel('Password').fill(password);
    await tab.page.getByRole('button', { name: 'Sign in' }).click();
}

test('strangers are sent to the sign-in page', async () => {
    for (const path of ['/admin', '/api-explorer']) {
        await tab.go(path);
        assert.equal(new URL(tab.page.url()).pathname, '/admin/sign_in');
        assert.equal(await tab.page.title(), 'Channelstream Admin');
    }
});

test('a wrong password is told', async () => {
    await signIn('wrong');
    await tab.page.getByRole('alert').filter({ hasText: /\w/ }).waitFor();
    await tab.portray('sign-in');
    tab.assertNoProblems();
});

test('the right one leads to the console', async () => {
    await signIn(ADMIN.password);
    await tab.page.waitForURL('**/admin');
    await tab.page.locator('#state[data-state="open"]').waitFor();
});

test('the explorer lists the endpoints and signs a request', async () => {
    await tab.go('/api-explorer');
    assert.equal(await tab.page.title(), 'Channelstream API explorer');
    const info = tab.page.locator('[data-operation="POST /info"]');
    await info.locator('summary').first().click();
    await tab.page.getByLabel('Secret of the server').fill(SECRET);
    await info.getByRole('button', { name: 'Send' }).click();
    await info.locator('.status').waitFor();
    assert.match(await info.locator('.status').textContent(), /^200/);
    assert.match(await info.locator('.headers').textContent(), /content-type: application\/json/);
    const reply = JSON.parse(await info.locator('.reply').textContent());
    assert.ok(reply.channels.demo);
    await tab.portray('explorer');
    tab.assertNoProblems();
});

test('it shows a refusal, and a slip in the body without asking the server', async () => {
    tab.toleratesNetworkErrors = true;
    const info = tab.page.locator('[data-operation="POST /info"]');
    await tab.page.getByLabel('Secret of the server').fill('not the secret');
    await info.getByRole('button', { name: 'Send' }).click();
    await info.locator('.status').filter({ hasText: /^401/ }).waitFor();
    tab.toleratesNetworkErrors = false;
    await info.getByLabel('Body (JSON)').fill('{"info": ');
    await info.getByRole('button', { name: 'Send' }).click();
    await info.locator('.status').filter({ hasText: 'The body is not JSON' }).waitFor();
    tab.assertNoProblems();
});

test('its source keeps the two texts that others replace', async () => {
    const source = await (await tab.context.request.get(`${server.url}/api-explorer`)).text();
    assert.ok(source.includes(`from '${server.url}/static/channelstream/index.js'`));
    assert.ok(source.includes(`${server.url}/openapi.json`));
    assert.ok(!source.includes('{{'));
});
