import { startDemo } from './demo.js';
import { base, byId } from './dom.js';

/** The interval at which a visible page requests the server's state. */
const POLL_MS = 3000;

const number = new Intl.NumberFormat('en');

async function showState() {
    if (document.hidden) {
        return;
    }
    const alive = byId('alive');
    try {
        const reply = await fetch(`${base}/demo/state`, { signal: AbortSignal.timeout(POLL_MS) });
        const state = await reply.json();
        byId('uptime').textContent = state.uptime;
        byId('sessions').textContent = number.format(state.sessions);
        byId('messages-total').textContent = number.format(state.messages);
        byId('deliveries').textContent = number.format(state.deliveries);
        alive.dataset.state = state.draining ? 'wait' : 'open';
        alive.textContent = state.draining ? 'This server is stopping' : `This server is up, version ${state.version}`;
    } catch {
        alive.dataset.state = 'lost';
        alive.textContent = 'This server does not respond';
    }
}

if (document.body.dataset.demo === 'true') {
    startDemo();
    showState();
    setInterval(showState, POLL_MS);
    document.addEventListener('visibilitychange', showState);
}
