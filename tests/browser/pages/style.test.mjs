/** All common parts of the pages, on one page: legible in both colour schemes and on a phone. */
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { checkAccessibility } from '../support/axe.js';
import { Tab, launch } from '../support/browser.mjs';

const TYPES = { css: 'text/css', html: 'text/html', svg: 'image/svg+xml' };
const specimen = { url: 'http://specimen.test' };

let browser;
let tab;

function answer(route) {
    const { pathname } = new URL(route.request().url());
    const path = pathname === '/' ? '../style/specimen.html' : `../../..${pathname}`;
    const body = readFileSync(new URL(path, import.meta.url));
    return route.fulfill({ body, contentType: TYPES[path.split('.').pop()] });
}

before(async () => {
    browser = await launch();
    tab = await Tab.open(browser, specimen);
    await tab.context.route('**/*', answer);
    await tab.go('/');
});

after(() => browser?.close());

for (const colorScheme of ['light', 'dark']) {
    test(`the parts are accessible in ${colorScheme}`, async () => {
        await tab.page.emulateMedia({ colorScheme });
        await checkAccessibility(tab.page);
    });
}

test('the parts fit on a phone', async () => {
    await tab.portray('specimen');
    tab.assertNoProblems();
});
