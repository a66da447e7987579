/** The live demo. It works like the page of a real application and uses only the browser library. */
import { ChannelStreamConnection } from './channelstream/index.js';
import { base, byId } from './dom.js';
import { MessageList } from './demo-messages.js';
import { PeopleList } from './demo-people.js';

/** The prefix that separates the demo's users and channels from those of applications. The page hides it. */
const NAMESPACE = 'demo:';
const CHANNEL = `${NAMESPACE}lobby`;
const COLORS = ['#0f766e', '#1d4ed8', '#7c3aed', '#be185d', '#c2410c', '#4d7c0f'];

const anyOf = (list) => list[Math.floor(Math.random() * list.length)];

const friendly = (name) => (name?.startsWith(NAMESPACE) ? name.slice(NAMESPACE.length) : name);
const withFriendlyName = (entry) => ({ ...entry, user: friendly(entry.user) });

function newConnection() {
    const connection = new ChannelStreamConnection();
    connection.channels = [CHANNEL];
    connection.connectUrl = `${base}/demo/connect`;
    connection.subscribeUrl = `${base}/demo/subscribe`;
    connection.unsubscribeUrl = `${base}/demo/unsubscribe`;
    connection.userStateUrl = `${base}/demo/user_state`;
    connection.messageUrl = `${base}/demo/message`;
    connection.messageEditUrl = `${base}/demo/message`;
    connection.messageDeleteUrl = `${base}/demo/message`;
    connection.disconnectUrl = `${base}/disconnect`;
    connection.longPollUrl = `${base}/listen`;
    connection.websocketUrl = `${base.replace(/^http/, 'ws')}/ws`;
    connection.noWebsocket = new URLSearchParams(location.search).get('transport') === 'longpoll';
    connection.addMutator('userState', (request) => {
        request.body = { user: request.body.username, user_state: request.body.update_state };
    });
    return connection;
}

/** One visitor, from joining to leaving. */
class Demo {
    constructor() {
        this.connection = newConnection();
        this.people = new PeopleList(byId('people'), byId('to'));
        this.messages = new MessageList(byId('messages'), {
            colorOf: (user) => this.people.colorOf(user),
            onEdit: (message, text) => this.edit(message, text),
            onDelete: (message) => this.delete(message),
        });
        this.listen();
    }

    listen() {
        const { connection } = this;
        connection.connectCallback = (_, reply) => this.welcome(reply);
        connection.connectErrorCallback = () => this.show('lost', 'The server cannot be reached, trying again…');
        connection.listenOpenedCallback = () => {
            const transport = connection.websocket ? 'websocket' : 'long-polling';
            this.show('open', `Connected over ${transport}`);
        };
        connection.listenCloseCallback = (event) => this.lost(event);
        connection.listenErrorCallback = () => this.lost({});
        connection.listenMessageCallback = (frames) => frames.forEach((frame) => this.take(withFriendlyName(frame)));
        connection.messageCallback = () => this.showProblem('');
        const failed = (request) => this.showProblem(`The request failed (${request.status || 'no response'}).`);
        connection.messageErrorCallback = failed;
        connection.messageEditErrorCallback = failed;
        connection.messageDeleteErrorCallback = failed;
        connection.setUserStateErrorCallback = failed;
    }

    join(name, color) {
        this.color = color;
        this.messages.me = name;
        this.people.me = name;
        this.connection.username = name;
        this.show('wait', 'Joining…');
        this.connection.connect();
    }

    leave() {
        this.connection.disconnect();
        this.people.reset([]);
        this.show('idle', 'Not joined');
    }

    welcome(reply) {
        const channel = reply.channels_info.channels[CHANNEL];
        const present = new Set([...channel.users.map(friendly), this.connection.username]);
        const users = reply.channels_info.users.map(withFriendlyName);
        this.people.reset(users.filter(({ user }) => present.has(user)));
        this.people.add(this.connection.username, { color: this.color });
        channel.history.forEach((message) => this.messages.add(withFriendlyName(message)));
        this.connection.updateUserState({ color: this.color });
    }

    /** Processes one frame. Ignores unknown types, because later servers may add types. */
    take(frame) {
        const known = {
            message: () => this.messages.add(frame),
            'message:edit': () => this.messages.change(frame),
            'message:delete': () => this.messages.remove(frame.uuid),
            presence: () => this.presence(frame),
            user_state_change: () => {
                this.people.add(frame.user, frame.message.state);
                this.messages.recolor();
            },
        };
        known[frame.type]?.();
    }

    presence(frame) {
        const { action } = frame.message;
        if (action === 'joined') {
            this.people.add(frame.user, frame.state ?? {});
        } else {
            this.people.remove(frame.user);
        }
        if (frame.users?.length) {
            this.people.reset(frame.users.map(withFriendlyName));
        }
        this.messages.note(frame.uuid, `${frame.user} ${action === 'joined' ? 'joined' : 'left'}`);
    }

    send(text, to) {
        const { username: user } = this.connection;
        const message = to ? { text, to } : { text };
        this.connection.message({ user, ...this.address(message), message });
    }

    edit(message, text) {
        this.connection.edit({ ...this.addressOf(message), message: { ...message.message, text } });
    }

    delete(message) {
        this.connection.delete(this.addressOf(message));
    }

    addressOf({ uuid, user, message }) {
        return { uuid, user, ...this.address(message) };
    }

    /**
     * The audience of a message. Private messages stay out of the history, which all visitors receive. They also go to
     * their sender, because the page shows a message only when it comes back.
     */
    address({ to }) {
        const { username } = this.connection;
        return to ? { channel: CHANNEL, pm_users: [to, username], no_history: true } : { channel: CHANNEL };
    }

    lost({ code }) {
        const takenOver = 'Another window has taken over. Leave and join again.';
        this.show('lost', code === 4001 ? takenOver : 'Connection lost, trying again…');
    }

    showProblem(text) {
        byId('problem').textContent = text;
    }

    show(state, text) {
        const joined = state !== 'idle';
        byId('state').dataset.state = state;
        byId('state').textContent = text;
        byId('enter').hidden = joined;
        byId('leave').hidden = !joined;
        byId('name').readOnly = joined;
        for (const id of ['to', 'text', 'send']) {
            byId(id).disabled = state !== 'open';
        }
    }
}

/** Starts the demo. A visitor who reloads the page joins again. */
export function startDemo() {
    const demo = new Demo();
    const [name, color, text] = ['name', 'color', 'text'].map(byId);
    const enter = () => {
        sessionStorage.setItem('channelstream-demo-name', name.value.trim());
        demo.join(friendly(name.value.trim()), color.value);
    };
    color.value = anyOf(COLORS);
    byId('join').addEventListener('submit', (event) => {
        event.preventDefault();
        if (name.value.trim() && !name.readOnly) {
            enter();
        }
    });
    byId('leave').addEventListener('click', () => {
        sessionStorage.removeItem('channelstream-demo-name');
        demo.leave();
        name.focus();
    });
    color.addEventListener('change', () => {
        demo.color = color.value;
        if (demo.connection.connected) {
            demo.connection.updateUserState({ color: color.value });
        }
    });
    byId('composer').addEventListener('submit', (event) => {
        event.preventDefault();
        demo.send(text.value, byId('to').value);
        text.value = '';
        text.focus();
    });
    const remembered = sessionStorage.getItem('channelstream-demo-name');
    name.value = remembered ?? `guest-${Math.floor(1000 + Math.random() * 9000)}`;
    if (remembered) {
        enter();
    }
}
