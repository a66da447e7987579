/** The admin page: asks for the server's state every five seconds and shows it. */
import { showState } from './admin-view.js';
import { base, byId } from './dom.js';

const POLL_MS = 5_000;
const FETCH_LIMIT_MS = 15_000;

/** A refusal that only signing in mends; asking again would be pointless. */
class SignedOut extends Error {}

async function ask() {
    const reply = await fetch(`${base}/admin/admin.json`, {
        headers: { Accept: 'application/json' },
        cache: 'no-store',
        // Followed, the way to the sign-in page would look like a success that is no JSON.
        redirect: 'manual',
        signal: AbortSignal.timeout(FETCH_LIMIT_MS),
    });
    if (reply.type === 'opaqueredirect' || reply.status === 401 || reply.status === 403) {
        throw new SignedOut();
    }
    if (!reply.ok) {
        throw new Error(`The server answered ${reply.status}.`);
    }
    return reply.json();
}

function report(state, text) {
    byId('state').dataset.state = state;
    byId('state').textContent = text;
    document.body.classList.toggle('stale', state === 'lost');
}

function complain(...parts) {
    byId('problem').replaceChildren(...parts);
}

function signInLink() {
    const link = document.createElement('a');
    link.href = `${base}/admin/sign_in`;
    link.textContent = 'Sign in again';
    return link;
}

let latest = null;

function render() {
    if (latest) {
        showState(latest, { channel: byId('channel-filter').value, user: byId('user-filter').value });
    }
}

async function poll() {
    try {
        latest = await ask();
        complain();
        report('open', `As of ${new Date().toLocaleTimeString()}, renewed every 5 seconds`);
        render();
    } catch (error) {
        if (error instanceof SignedOut) {
            report('lost', 'Signed out');
            complain('Your sign-in has ended. ', signInLink());
            return;
        }
        report('lost', latest ? 'These figures are old' : 'No figures yet');
        complain(`The server’s state could not be read; trying again. ${error.message}`);
    }
    schedule();
}

/** Nobody looks at a hidden tab, so it asks nothing; it asks at once when it is shown again. */
function schedule() {
    if (document.hidden) {
        document.addEventListener('visibilitychange', poll, { once: true });
    } else {
        setTimeout(poll, POLL_MS);
    }
}

byId('channel-filter').addEventListener('input', render);
byId('user-filter').addEventListener('input', render);
poll();
