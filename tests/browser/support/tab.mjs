/**
 * Tabs of one window. Playwright opens each page in its own window, which is always visible. To hide and freeze tabs,
 * this module uses the browser's own protocol.
 */
const LIMIT_MS = 60_000;
const PAUSE_MS = 50;

export class Tabs {
    static async of(browser) {
        const tabs = new Tabs(await browser.newBrowserCDPSession());
        return tabs;
    }

    constructor(session) {
        this.session = session;
        this.count = 0;
        this.answers = new Map();
        session.on('Target.receivedMessageFromTarget', ({ message }) => {
            const { id, result, error } = JSON.parse(message);
            this.answers.get(id)?.({ result, error });
            this.answers.delete(id);
        });
    }

    /** Opens a tab, which becomes the visible one. */
    async open(url) {
        const { targetId } = await this.session.send('Target.createTarget', { url });
        const { sessionId } = await this.session.send('Target.attachToTarget', { targetId, flatten: false });
        return new RawTab(this, targetId, sessionId);
    }

    async send(sessionId, method, params) {
        this.count += 1;
        const id = this.count;
        const answered = new Promise((resolve) => this.answers.set(id, resolve));
        const message = JSON.stringify({ id, method, params });
        await this.session.send('Target.sendMessageToTarget', { sessionId, message });
        const { result, error } = await answered;
        if (error) {
            throw new Error(`${method}: ${error.message}`);
        }
        return result;
    }
}

class RawTab {
    constructor(tabs, targetId, sessionId) {
        Object.assign(this, { tabs, targetId, sessionId });
    }

    send(method, params = {}) {
        return this.tabs.send(this.sessionId, method, params);
    }

    /** Returns the value of an expression in the page. */
    async evaluate(expression) {
        const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
            expression: `JSON.stringify(${expression})`, awaitPromise: true, returnByValue: true,
        });
        if (exceptionDetails) {
            throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        }
        return result.value === undefined ? undefined : JSON.parse(result.value);
    }

    async waitFor(expression) {
        const until = Date.now() + LIMIT_MS;
        while (!await this.evaluate(`Boolean(${expression})`)) {
            if (Date.now() > until) {
                throw new Error(`timeout while waiting for ${expression}`);
            }
            await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
        }
    }

    show() {
        return this.tabs.session.send('Target.activateTarget', { targetId: this.targetId });
    }

    /** Sets the state to `frozen` or `active`. Only hidden tabs can be frozen. */
    lifecycle(state) {
        return this.send('Page.setWebLifecycleState', { state });
    }

    close() {
        return this.tabs.session.send('Target.closeTarget', { targetId: this.targetId });
    }
}
