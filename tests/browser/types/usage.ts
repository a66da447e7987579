/** Uses that the declarations must allow or refuse. This file is compiled but never run. */
import {
    ChannelStreamChannel, ChannelStreamConnection, ChannelStreamError, ChannelStreamRequest, ChannelStreamSigner,
} from 'channelstream-browser';
import type {
    ChannelsInfo, ConnectionEvents, ConnectionState, Frame, MessageFrame, OpenEvent, StoredMessage, User,
} from 'channelstream-browser';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
const same = <A, B>(proof: Same<A, B>) => proof;

interface Chat {
    text: string;
}

// Options can be set in the constructor and as properties.
const connection = new ChannelStreamConnection({
    username: 'ada',
    channels: ['news'],
    connectUrl: '/connect',
    websocketUrl: 'ws://127.0.0.1:8000/ws',
    silenceTimeoutMs: null,
    logger: (event, details) => console.log(event, details),
    listenMessageCallback: (messages) => messages.forEach((frame) => console.log(frame.type)),
});
connection.noWebsocket = true;
connection.graceTimeMs = 60_000;
// @ts-expect-error: no such option
new ChannelStreamConnection({ conectUrl: '/connect' });
// @ts-expect-error: wrong type
new ChannelStreamConnection({ username: 7 });
// States are a closed set.
const state: ConnectionState = connection.state;
switch (state) {
    case 'disconnected':
    case 'connecting':
    case 'connected':
    case 'reconnecting':
    case 'failed':
        break;
    default:
        same<typeof state, never>(true);
}
// @ts-expect-error: no such state
connection.state === 'conected';
// @ts-expect-error: read-only
connection.state = state;

// Events carry their details.
const off: () => void = connection.on('open', ({ transport, resumed }) => {
    same<typeof transport, 'websocket' | 'sse' | 'longpoll'>(true);
    same<typeof resumed, boolean>(true);
});
off();
connection.on('recovered', ({ channel, recovered, gap }) => {
    same<typeof channel, string | null>(true);
    same<typeof recovered, boolean>(true);
    console.log(gap?.after, gap?.upto);
});
connection.on('message', ({ offset }) => same<typeof offset, number | undefined>(true));
connection.transports = ['sse', 'longpoll'];
connection.resume = false;
connection.sseUrl = '/sse';
connection.getToken = async ({ user, reason }) => {
    same<typeof reason, 'connect' | 'refresh' | 'expired' | 'refused'>(true);
    return `${user} ${reason}`;
};
connection.getToken = () => 'a token';
connection.getToken = null;
// @ts-expect-error: a token is a text
connection.getToken = async () => 7;
// @ts-expect-error: no such transport
connection.transports = ['carrier pigeon'];
connection.once('error', (error) => {
    same<typeof error, ChannelStreamError>(true);
    if (error.code === 'refused' && error.status === 403) {
        console.log(error.data);
    }
});
connection.on('message', (message) => {
    same<typeof message, MessageFrame>(true);
    console.log(message.user.toUpperCase(), message.message['anything']);
});
connection.on('presence', ({ message: { action } }) => same<typeof action, 'joined' | 'parted'>(true));
const listener = (event: ConnectionEvents['state']) => console.log(event.previous, event.state, event.reason);
connection.on('state', listener);
connection.off('state', listener);
// @ts-expect-error: no such event
connection.on('opened', () => {});
// @ts-expect-error: not a detail of this event
connection.on('open', ({ code }) => code);

// The type of a frame determines its other fields.
const describe = (frame: Frame<Chat>): string => {
    switch (frame.type) {
        case 'message': return frame.message.text;
        case 'message:edit': return frame.message?.text ?? frame.edited;
        case 'message:delete': return frame.uuid;
        case 'presence': return frame.users.map(({ user }) => user).join();
        case 'user_state_change': return frame.message.changed.map(({ key }) => key).join();
    }
};
connection.channel<Chat>('chat').on('frame', describe);

// The callbacks of the 0.7.1 client.
connection.listenMessageCallback = (messages) => messages.map((frame) => frame.uuid);
connection.connectCallback = (request, data) => {
    same<typeof request, XMLHttpRequest>(true);
    console.log(request.status, data.conn_id, data.channels_info?.users);
};
connection.listenCloseCallback = (event: CloseEvent) => event.code;
// @ts-expect-error: no such callback
connection.messageCalback = () => {};
connection.addMutator('connect', (request) => {
    same<typeof request, ChannelStreamRequest>(true);
    request.headers.push({ name: 'X-CSRF-Token', value: 'token' });
    request.body.token = 'token';
});
// @ts-expect-error: no such kind of request
connection.addMutator('listen', () => {});

// Calls return promises.
export async function calls(): Promise<void> {
    const opened = await connection.connect();
    same<typeof opened, OpenEvent>(true);
    await connection.ready(5000);
    const { channels } = await connection.subscribe(['news']);
    same<typeof channels, string[] | undefined>(true);
    const info: ChannelsInfo = await connection.info();
    console.log(info.channels['news']?.total_users);
    await connection.message({ channel: 'news', message: { text: 'hi' } });
    await connection.updateUserState({ color: 'red', age: 36, here: true, none: null });
    // @ts-expect-error: states are flat
    await connection.updateUserState({ deep: {} });
    // @ts-expect-error: must be a list
    await connection.subscribe('news');
    await connection.disconnect();
}

// Channels have a type for their messages.
const chat: ChannelStreamChannel<Chat> = connection.channel<Chat>('news');
chat.on('message', (message) => same<typeof message.message, Chat>(true));
chat.on('history', ({ messages, missed }) => same<[typeof messages, typeof missed], [StoredMessage<Chat>[], StoredMessage<Chat>[]]>(true));
chat.on('join', (user) => same<typeof user, User>(true));
chat.on('members', (members) => same<typeof members, User[]>(true));
chat.on('state', ({ state }) => same<typeof state, 'unsubscribed' | 'subscribing' | 'subscribed'>(true));
chat.on('gap', ({ reason, gap }) => console.log(reason === 'evicted', gap?.upto));
// @ts-expect-error: only connections report recoveries
chat.on('recovered', () => {});
chat.messageLimit = 500;
const done: Promise<void> = chat.subscribe();
done.catch((error: ChannelStreamError) => error.code);
chat.publish({ text: 'hi' }, { pm_users: ['bob'] });
// @ts-expect-error: not the channel's message type
chat.publish({ words: 'hi' });
// @ts-expect-error: read-only
chat.members = [];
// @ts-expect-error: only a connection makes channels
new ChannelStreamChannel();
connection.channel('any').on('message', ({ message }) => console.log(message.whatever));

// Pages can define subclasses.
export class Page extends ChannelStreamConnection {
    override listenMessageCallback(messages: Frame[]): void {
        console.log(messages.length);
    }
}

const token: string = new ChannelStreamSigner('secret').signRequest();
console.log(token, ChannelStreamConnection.version.length, done);
