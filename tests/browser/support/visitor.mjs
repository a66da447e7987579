/** A visitor of the live demo, who uses only the visible controls of the page. */
import { Tab } from './browser.mjs';

export class Visitor {
    static async join(browser, server, name, transport) {
        const tab = await Tab.open(browser, server);
        await tab.go(transport === 'longpoll' ? '/?transport=longpoll' : '/');
        const visitor = new Visitor(tab, name);
        await visitor.enter();
        return visitor;
    }

    constructor(tab, name) {
        this.tab = tab;
        this.page = tab.page;
        this.name = name;
        this.messages = this.page.getByRole('log', { name: 'Messages' });
    }

    async enter() {
        await this.page.getByLabel('Your name').fill(this.name);
        await this.page.getByRole('button', { name: 'Join' }).click();
        await this.state('open');
    }

    async leave() {
        await this.page.getByRole('button', { name: 'Leave' }).click();
        await this.state('idle');
    }

    state(state) {
        return this.page.locator(`#state[data-state="${state}"]`).waitFor();
    }

    transport() {
        return this.page.locator('#state').textContent();
    }

    async say(text, to = '') {
        await this.page.getByLabel('To', { exact: true }).selectOption(to);
        await this.page.getByLabel('Message', { exact: true }).fill(text);
        await this.page.getByRole('button', { name: 'Send' }).click();
    }

    line(text) {
        return this.messages.getByRole('listitem').filter({ has: this.page.getByText(text, { exact: true }) });
    }

    sees(text) {
        return this.line(text).waitFor();
    }

    misses(text) {
        return this.line(text).waitFor({ state: 'detached' });
    }

    async notices(text) {
        await this.messages.locator('li.event').filter({ hasText: text }).last().waitFor();
    }

    /** Returns the texts of all messages, in the order of the page. */
    texts() {
        return this.messages.locator('li p').allTextContents();
    }

    async edit(text, changed) {
        await this.line(text).getByRole('button', { name: 'Edit' }).click();
        await this.messages.getByLabel('New text').fill(changed);
        await this.messages.getByRole('button', { name: 'Save' }).click();
    }

    async remove(text) {
        await this.line(text).getByRole('button', { name: 'Delete' }).click();
    }

    /** Waits until exactly these people are listed. */
    async meets(...names) {
        const expected = [...names].sort().join();
        await this.page.waitForFunction((wanted) => {
            const shown = [...document.querySelectorAll('#people .who')].map((who) => who.textContent);
            return shown.sort().join() === wanted;
        }, expected);
    }

    close() {
        return this.tab.close();
    }
}
