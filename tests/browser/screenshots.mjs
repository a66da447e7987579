/**
 * Makes the pictures of docs/screenshots.md: every page as operators, developers and visitors see it, light and dark.
 *
 * Names on the command line select pictures. `WARM_UP_MS` is the time that the console's charts record beforehand.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import UPNG from 'upng-js';

import { Tab, launch } from './support/browser.mjs';
import { Example } from './support/example.mjs';
import { live } from './support/life.mjs';
import { ADMIN, SECRET, Server } from './support/server.mjs';
import { Visitor } from './support/visitor.mjs';

const WARM_UP_MS = Number(process.env.WARM_UP_MS ?? 90_000);
/** The time that charts and fonts need after a change of the colours. */
const SETTLE_MS = 400;
/** Pictures with a palette have half the size and look the same. */
const COLORS = 256;
const VIEWPORT = { width: 1280, height: 800 };

const output = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const only = process.argv.slice(2);

let browser;
let server;
/** The tab of the operator, who is signed in. */
let tab;

async function portray(page, name) {
    for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await pause(SETTLE_MS);
        const picture = UPNG.decode(await page.screenshot());
        const small = UPNG.encode(UPNG.toRGBA8(picture), picture.width, picture.height, COLORS);
        writeFileSync(`${output}${name}-${colorScheme}.png`, Buffer.from(small));
    }
    console.log(name);
}

const shown = ({ page }, selector) => page.locator(selector).first().waitFor();

async function signIn() {
    await tab.page.getByLabel('User name').fill(ADMIN.username);
    await tab.page.getByLabel('Password').fill(ADMIN.password);
    await tab.page.getByRole('button', { name: 'Sign in' }).click();
    await tab.page.waitForURL('**/admin');
}

/** Opens a page of the console and waits until it shows `selector`. */
async function turn(hash, selector) {
    await tab.go(`/admin${hash}`);
    await shown(tab, selector);
    return tab.page;
}

/** Opens a page for two people, each in a separate tab. */
async function two(path) {
    const tabs = [await Tab.open(browser, server, { viewport: VIEWPORT }), await Tab.open(browser, server)];
    for (const one of tabs) {
        await one.go(path);
        await shown(one, '#state[data-state="open"]');
    }
    return tabs;
}

const logged = ({ page }, text) => page.locator('#log li', { hasText: text }).first().waitFor();

const consolePages = {
    'console-overview': () => turn('', '[data-chart="connections"] canvas'),
    'console-channels': () => turn('#/channels?sort=-rate', '#channels tbody tr'),
    'console-channel': async () => {
        const page = await turn(`#/channel/${encodeURIComponent('orders/eu')}`, '.frames li');
        // Waits for live frames, because those of the history appear immediately.
        const outgoing = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Live frames' }) });
        await outgoing.locator('.frames li').nth(5).waitFor();
        return page;
    },
    'console-users': () => turn('#/users?sort=-connections', '#users tbody tr'),
    'console-user': () => turn('#/user/user-1', '#connections tbody tr'),
    'console-connections': () => turn('#/connections?sort=-since', '#connections tbody tr'),
    'console-connection': async () => {
        const page = await turn('#/connections?search=user-1', '#connections tbody tr');
        const row = page.locator('#connections tr').filter({ has: page.getByText('user-1', { exact: true }) });
        await row.getByRole('link', { name: /^Connection / }).first().click();
        await page.getByRole('button', { name: 'Record this connection' }).click();
        await page.locator('[data-outcome="not_meant"]').first().waitFor();
        await page.locator('.frames li').nth(12).waitFor();
        return page;
    },
    'console-limits': () => turn('#/limits', '#limits tbody tr .badge'),
    'console-secrets': () => turn('#/secrets', '#secrets tbody tr'),
};

const otherPages = {
    front: async () => {
        await tab.go('/');
        await pause(SETTLE_MS);
        return tab.page;
    },
    'live-demo': async () => {
        const ada = await Visitor.join(browser, server, 'ada', 'websocket');
        const bob = await Visitor.join(browser, server, 'bob', 'longpoll');
        await ada.page.setViewportSize(VIEWPORT);
        await ada.meets('ada', 'bob');
        await ada.say('Good morning');
        await bob.say('Good morning, ada');
        await bob.say('Only you get this one', 'ada');
        await ada.sees('Only you get this one');
        await ada.page.locator('#join').evaluate((form) => form.closest('section').scrollIntoView());
        return ada.page;
    },
    explorer: async () => {
        await tab.go('/api-explorer');
        await shown(tab, '.opblock');
        await tab.page.getByLabel('Secret of the server').fill(SECRET);
        return tab.page;
    },
    'explorer-endpoint': async () => {
        await tab.go('/api-explorer');
        const block = tab.page.locator('.opblock').filter({ has: tab.page.locator('[data-path="/connect"]') });
        await block.locator('.opblock-summary-control').click();
        await block.getByRole('button', { name: 'Execute' }).waitFor();
        await block.evaluate((element) => element.scrollIntoView());
        return tab.page;
    },
    'first-application': async () => {
        await tab.go('/docs/first-application');
        await shown(tab, 'body[data-ready="true"]');
        return tab.page;
    },
    'first-application-message': async () => {
        await tab.go('/docs/first-application');
        await shown(tab, 'body[data-ready="true"]');
        await tab.page.fill('#secret', SECRET);
        for (const step of ['connect', 'message']) {
            await tab.page.locator(`#${step} form button`).click();
            await shown(tab, `#${step} .badge.good`);
        }
        await tab.page.locator('#message').evaluate((step) => step.scrollIntoView());
        return tab.page;
    },
    demos: async () => {
        await tab.go('/demo/');
        return tab.page;
    },
    'demo-echo': async () => {
        const [{ page }] = await two('/demo/echo');
        for (const [kind, text] of [['text', 'hello'], ['json', '{"a": [1, null]}'], ['bytes', '00 ff']]) {
            await page.getByLabel('As', { exact: true }).selectOption(kind);
            await page.getByLabel('Message', { exact: true }).fill(text);
            await page.getByRole('button', { name: 'Send', exact: true }).click();
        }
        await page.getByRole('button', { name: 'Send 1 MiB of bytes' }).click();
        await logged({ page }, '1048576 bytes');
        return page;
    },
    'demo-chat': async () => {
        const tabs = await two('/demo/chat');
        for (const [index, text] of ['Good morning', 'Good morning, ada', 'Who else is here?', 'Only us'].entries()) {
            const { page } = tabs[index % 2];
            await page.getByLabel('Your name').fill(['ada', 'bob'][index % 2]);
            await page.getByLabel('Message', { exact: true }).fill(text);
            await page.keyboard.press('Enter');
            await logged(tabs[0], text);
        }
        return tabs[0].page;
    },
    'demo-board': async () => {
        const [{ page }] = await two('/demo/board/');
        for (const name of ['news', 'weather']) {
            await page.getByLabel('New channel').fill(name);
            await page.getByRole('button', { name: 'Create' }).click();
            await page.locator('#channels li', { hasText: name }).waitFor();
        }
        await page.locator('#channels li', { hasText: 'news' }).getByRole('checkbox').check();
        // No frame confirms a subscription, and earlier values do not reach the subscriber.
        while (!await page.locator('#log li', { hasText: '"msg"' }).count()) {
            await page.getByRole('button', { name: 'Push' }).click();
            await pause(SETTLE_MS);
        }
        return page;
    },
    'demo-guarded': async () => {
        const guarded = await Tab.open(browser, server, { viewport: VIEWPORT });
        await guarded.go('/demo/guarded/');
        await guarded.page.getByRole('button', { name: 'Get a token' }).click();
        await guarded.page.waitForFunction(() => document.querySelector('#token').value);
        await guarded.page.getByRole('button', { name: 'Open a socket' }).click();
        await shown(guarded, '#state[data-state="open"]');
        await guarded.page.getByRole('button', { name: 'Send' }).click();
        await logged(guarded, 'hello');
        return guarded.page;
    },
};

/** Opens an example of `examples/` for several people, each with a separate profile. */
async function visit(example, names, signInButton) {
    const pages = [];
    for (const name of names) {
        const context = await browser.newContext({ viewport: VIEWPORT });
        const page = await context.newPage();
        await page.goto(example.url);
        await page.locator('body[data-ready="true"]').waitFor();
        await page.fill('#name', name);
        await page.click(signInButton);
        await page.locator('#state[data-state="open"]').waitFor();
        pages.push(page);
    }
    return pages;
}

/** The examples use other names than the live demo, because the server keeps the colours of its users. */
const examplePages = {
    'example-chat': ['examples/chat/app.py', async (example) => {
        const [dora, emil] = await visit(example, ['dora', 'emil'], '#sign-in button');
        await emil.selectOption('#status', 'busy');
        for (const [page, text] of [[dora, 'Good morning'], [emil, 'Good morning, dora']]) {
            await page.fill('#text', text);
            await page.press('#text', 'Enter');
            await dora.locator('#messages li', { hasText: text }).first().waitFor();
        }
        return dora;
    }],
    'example-notifications': ['examples/notifications/app.py', async (example) => {
        const [dora, emil] = await visit(example, ['dora', 'emil'], '#sign-in button');
        for (const [text, to, level] of [['Lunch is ready', '', 'info'], ['Backup finished', '', 'success'],
            ['Your parcel is here', 'emil', 'warning']]) {
            await dora.fill('#text', text);
            await dora.fill('#to', to);
            await dora.selectOption('#level', level);
            await dora.click('#sender button');
            await emil.locator('#list li', { hasText: text }).waitFor();
        }
        return emil;
    }],
};

const asked = (pages) => Object.entries(pages).filter(([name]) => only.length === 0 || only.includes(name));

async function makeAll() {
    const rest = await live(server);
    tab = await Tab.open(browser, server, { viewport: VIEWPORT });
    await tab.go('/admin/sign_in');
    for (const [name] of asked({ 'console-sign-in': [] })) {
        await portray(tab.page, name);
    }
    await signIn();
    for (const [name, page] of asked(otherPages)) {
        await portray(await page(), name);
    }
    for (const [name, [path, page]] of asked(examplePages)) {
        const example = await Example.start(server, 'python3', path);
        try {
            await portray(await page(example), name);
        } finally {
            await example.stop();
        }
    }
    const pages = asked(consolePages);
    await pause(pages.length > 0 ? WARM_UP_MS : 0);
    for (const [name, page] of pages) {
        await portray(await page(), name);
    }
    await rest();
}

mkdirSync(output, { recursive: true });
browser = await launch();
// The sockets of the simulated users do not answer pings.
server = await Server.start({ settings: { PONG_TIMEOUT: '0' } });
try {
    await makeAll();
} finally {
    await browser.close();
    await server.stop();
}
