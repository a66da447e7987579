/** The sign-in to the operator's pages in a real browser. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Tab, launch } from '../support/browser.mjs';
import { ADMIN, Server } from '../support/server.mjs';
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

test('visitors without a sign-in are redirected to the sign-in page', async () => {
    for (const path of ['/admin', '/api-explorer']) {
        await tab.go(path);
        assert.equal(new URL(tab.page.url()).pathname, '/admin/sign_in');
        assert.equal(await tab.page.title(), 'Channelstream Admin');
    }
});

test('a wrong password is reported', async () => {
    await signIn('wrong');
    await tab.page.getByRole('alert').filter({ hasText: /\w/ }).waitFor();
    await tab.portray('sign-in');
    tab.assertNoProblems();
});

test('the right password leads to the console', async () => {
    await signIn(ADMIN.password);
    await tab.page.waitForURL('**/admin');
    await tab.page.locator('#state[data-state="open"]').waitFor();
});
