/** The console: shows the chosen page and keeps it up to date. */
import { html, render } from '../vendor/lit-html/lit-html.js';
import { base, byId, make } from '../dom.js';
import { Gone, SignedOut } from './api.js';
import { Channel } from './channel.js';
import { Connection } from './connection.js';
import { Limits } from './limits.js';
import { Channels, Connections, Users } from './lists.js';
import { Overview } from './overview.js';
import { here, href } from './router.js';
import { Secrets } from './secrets.js';
import { User } from './user.js';

const POLL_MS = 2_000;

const SECTIONS = [['overview', 'Overview'], ['channels', 'Channels'], ['users', 'Users'], ['connections', 'Connections'],
    ['limits', 'Limits'], ['secrets', 'Secrets']];
const PAGES = {
    overview: Overview, channels: Channels, users: Users, connections: Connections,
    channel: Channel, user: User, connection: Connection, limits: Limits, secrets: Secrets,
};

let page = null;
let place = null;
let loading = null;
let timer = null;

function report(state, text) {
    const line = byId('state');
    // Sets the text only when it changes, because screen readers announce it each time.
    if (line.dataset.state !== state || line.textContent !== text) {
        line.dataset.state = state;
        line.textContent = text;
    }
    document.body.classList.toggle('stale', state === 'lost');
}

function showProblem(...parts) {
    byId('problem').replaceChildren(...parts);
}

function sections() {
    const current = SECTIONS.map(([name]) => name).includes(place.name) ? place.name : `${place.name}s`;
    return SECTIONS.map(([name, label]) => html`
        <a href=${href(name)} aria-current=${name === current ? 'page' : 'false'}>${label}</a>`);
}

function show() {
    render(sections(), byId('sections'));
    render(page.template(), byId('page'));
    document.title = `${page.title} – Channelstream Admin`;
}

/** Renders the page after a change. Also loads its data again by default. */
function changed(reload = true) {
    show();
    if (reload) {
        poll();
    }
}

function explain(error) {
    if (error instanceof SignedOut) {
        report('lost', 'Signed out');
        showProblem('Your sign-in has ended. ', make('a', { href: `${base}/admin/sign_in` }, 'Sign in again'));
        return false;
    }
    if (error instanceof Gone) {
        report('open', 'Live');
        showProblem(`${page.title}: this no longer exists.`);
        return true;
    }
    report('lost', 'These figures are outdated');
    showProblem(`The console could not load the server’s state and tries again. ${error.message}`);
    return true;
}

async function poll() {
    clearTimeout(timer);
    loading?.abort();
    const mine = new AbortController();
    loading = mine;
    const loaded = page;
    let goOn = true;
    try {
        await loaded.load(mine.signal);
        if (mine.signal.aborted) {
            return;
        }
        showProblem();
        report('open', 'Live');
    } catch (error) {
        if (mine.signal.aborted) {
            return;
        }
        goOn = explain(error);
    }
    show();
    if (goOn) {
        schedule();
    }
}

/** Schedules the next poll. A hidden tab does not poll; it polls immediately when it becomes visible. */
function schedule() {
    if (document.hidden) {
        document.addEventListener('visibilitychange', poll, { once: true });
    } else {
        timer = setTimeout(poll, POLL_MS);
    }
}

function turn() {
    const before = place;
    place = here();
    page?.leave?.();
    const Page = PAGES[place.name] ?? Overview;
    // Each page reports only its own changes. A late response must not render another page.
    const made = new Page({ ...place, changed: (reload) => { if (page === made) { changed(reload); } } });
    page = made;
    showProblem();
    show();
    // On a phone the sections are wider than the screen.
    document.querySelector('#sections [aria-current="page"]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    if (before) {
        // Does what a browser does for a new document: scrolls to the top and announces the page.
        scrollTo(0, 0);
        document.querySelector('.page-title')?.focus({ preventScroll: true });
    }
    poll();
}

addEventListener('hashchange', turn);
turn();
