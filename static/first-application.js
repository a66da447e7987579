/** The tutorial. It plays the parts of a web application that calls the server, and of two users who listen. */
import { ChannelStreamSigner } from './channelstream/index.js';
import { CallPanel } from './first-application-call.js';
import { Listener } from './first-application-listener.js';
import { showSamples } from './first-application-samples.js';
import { base, byId } from './dom.js';

const signature = () => new ChannelStreamSigner(byId('secret').value).signRequest();
const listeners = ['alice', 'bob'].map((user) => new Listener(user, signature));
const [alice] = listeners;
/** The value of each `$name` in a body. */
const known = new Map();

/** Processes the reply of a call: stores the values that later bodies use, and makes both users listen. */
async function after(panel, reply) {
    if (panel.id === 'message') {
        known.set('$message', reply[0]?.uuid);
    }
    if (panel.id !== 'connect') {
        return;
    }
    const [, bob] = listeners;
    const theirs = await panel.perform({ ...panel.body(), username: bob.user });
    known.set('$alice', reply.conn_id);
    alice.listen(reply.conn_id);
    bob.listen(theirs.conn_id);
}

const panels = [...document.querySelectorAll('[data-call]')].map(
    (element) => new CallPanel(element, { base, signature, known, listeners, after }),
);
for (const listener of listeners) {
    listener.onFrames = (frames) => CallPanel.latest?.showFrames(listener.user, frames);
    listener.onState = (text) => CallPanel.latest?.showState(listener.user, text);
}

byId('settings').addEventListener('submit', (event) => event.preventDefault());
document.querySelector('[data-websocket-url]').textContent = `${base.replace(/^http/, 'ws')}/ws`;
showSamples(byId('language'), document.querySelectorAll('[data-sample]'));
document.body.dataset.ready = String(panels.length > 0);
