/** Automatic accessibility checks: runs axe-core on the page in its present state. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const describe = ({ id, help, nodes }) => {
    const places = nodes.map(({ target, failureSummary }) => `    ${target.join(' ')}: ${failureSummary}`);
    return `${id}: ${help}\n${places.join('\n')}`;
};

/**
 * Fails if axe finds a violation of WCAG 2.2 A and AA or of its own best practices.
 *
 * The debugger evaluates axe, not the page, so the page's content security policy need not allow it.
 *
 * @param {import('playwright-core').Page} page
 */
export async function checkAccessibility(page) {
    await page.evaluate(source);
    // The colours of a panel are not final until its animation ends.
    await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    assert.equal(violations.length, 0, violations.map(describe).join('\n\n'));
}
