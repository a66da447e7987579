/**
 * The browser library of channelstream. What each part does and how they work together stands in
 * docs/browser-library.md of the project.
 */
export as namespace ChannelStream;

// ---- What the server sends -----------------------------------------------------------------------------------------

/** What an application puts into a message. */
export type Payload = Record<string, any>;

/** A user's state; what others see of it are its public keys. */
export type UserState = Record<string, string | number | boolean | null>;

/** Somebody said something. */
export interface MessageFrame<P = Payload> {
    type: 'message';
    /** Null for a message to users and not to a channel. */
    channel: string | null;
    uuid: string;
    user: string;
    /** ISO 8601; without a zone it is UTC. */
    timestamp: string;
    /** Equal to `timestamp`; absent where the server's `date_in_frames` is off. */
    date?: string;
    /** Absent if the message was sent without. */
    message: P;
    /** When the message was changed, null if it never was. */
    edited: string | null;
    /** Whether it was sent before this transport was opened. */
    catchup: boolean;
}

/** A message was changed. What the change did not name is absent: merge it over what you have. */
export interface MessageEditFrame<P = Payload> {
    type: 'message:edit';
    channel: string | null;
    uuid: string;
    edited: string;
    user?: string;
    timestamp?: string;
    date?: string;
    message?: P;
    catchup?: boolean;
}

/** A message was taken back. */
export interface MessageDeleteFrame {
    type: 'message:delete';
    channel: string | null;
    uuid: string;
    catchup?: boolean;
}

/** A user, as lists of a channel show it. */
export interface User {
    user: string;
    state: UserState;
}

/** A user's first connection joined a channel, or the last one left it. Not sent to the user concerned. */
export interface PresenceFrame {
    type: 'presence';
    channel: string;
    uuid: string;
    user: string;
    timestamp: string;
    date?: string;
    message: { action: 'joined' | 'parted' };
    /** The public state of who joined. */
    state: UserState | null;
    /** Everybody present, where the channel's `broadcast_presence_with_user_lists` is on; else empty. */
    users: User[];
    catchup: boolean;
}

/** The state of a channel's member changed. */
export interface UserStateFrame {
    type: 'user_state_change';
    channel: string;
    uuid: string;
    user: string;
    timestamp: string;
    date?: string;
    message: { state: UserState; changed: { key: string; value: UserState[string] }[] };
    catchup: boolean;
}

/** Anything the server sends. Skip types that you do not know: servers may learn new ones. */
export type Frame<P = Payload> =
    | MessageFrame<P>
    | MessageEditFrame<P>
    | MessageDeleteFrame
    | PresenceFrame
    | UserStateFrame;

/** A message as a channel's history has it. */
export interface StoredMessage<P = Payload> extends Omit<MessageFrame<P>, 'date'> {
    date?: string;
    pm_users?: string[];
    exclude_users?: string[];
    no_history?: boolean;
}

/** Settings of a channel. */
export interface ChannelSettings {
    notify_presence: boolean;
    store_history: boolean;
    history_size: number;
    broadcast_presence_with_user_lists: boolean;
    notify_state: boolean;
    store_frames: boolean;
}

/** What the server tells of a channel. */
export interface ChannelInfo<P = Payload> {
    uuid: string;
    name: string;
    long_name: string | null;
    settings: ChannelSettings;
    history: StoredMessage<P>[];
    last_active: string;
    total_connections: number;
    total_users: number;
    users: string[];
}

/** What the server tells of channels. */
export interface ChannelsInfo {
    channels: Record<string, ChannelInfo>;
    users: User[];
}

/** What `connectUrl` answers: the server's answer to `/connect`, handed on as far as the page may know it. */
export interface ConnectReply {
    conn_id: string;
    channels?: string[];
    channels_info?: ChannelsInfo;
    username?: string;
    state?: UserState;
    public_state?: UserState;
    [key: string]: any;
}

/** What `subscribeUrl` and `unsubscribeUrl` answer. */
export interface SubscribeReply {
    channels?: string[];
    channels_info?: ChannelsInfo;
    subscribed_to?: string[];
    unsubscribed_from?: string[];
    [key: string]: any;
}

// ---- Events --------------------------------------------------------------------------------------------------------

/** Where a connection stands. */
export type ConnectionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting';

/** Why it stands there. */
export type StateReason =
    /** connect() was called. */
    | 'connect'
    /** Listening has started. */
    | 'open'
    /** The transport ended. */
    | 'lost'
    /** The server does not know the connection id any more. */
    | 'forgotten'
    /** The page is left or frozen, and may be shown again. */
    | 'suspended'
    /** closeConnection() or disconnect() was called. */
    | 'closed'
    /** Another socket or poll uses this connection id. */
    | 'taken-over'
    /** connect() failed and `shouldReconnect` is off. */
    | 'failed';

export type TransportName = 'websocket' | 'longpoll';

export interface StateEvent {
    state: ConnectionState;
    previous: ConnectionState;
    reason: StateReason;
}

export interface ConnectEvent {
    connectionId: string;
    /** The id before, null at first. A new one means: what was sent in between has to come from the history. */
    previousId: string | null;
    /** The answer of `connectUrl`. */
    data: ConnectReply;
}

export interface OpenEvent {
    transport: TransportName;
    connectionId: string;
    /** Whether listening goes on where it ended, with the connection id from before. */
    resumed: boolean;
    /** Whether frames may be missing since it listened before: a new id, or bytes lost with a broken transport. */
    gap: boolean;
}

export interface CloseEvent {
    transport: TransportName;
    /** Close code of the websocket; 1006 when there was none. */
    code?: number;
    /** Status of the poll; 0 when no answer came. */
    status?: number;
    /** What the server said about it. */
    reason: string;
    /** Whether it ended in order; otherwise what was on its way is lost. */
    clean: boolean;
}

export interface RetryEvent {
    /** 1 for the first attempt since something worked. */
    attempt: number;
    delayMs: number;
    /** Whether a new connection id will be asked for, or listening be resumed with the one at hand. */
    action: 'connect' | 'resume';
}

export interface ChannelsEvent {
    channels: string[];
    added: string[];
    removed: string[];
}

export interface FrameEvents<P = Payload> {
    /** Every frame of any type, before the event of its type. */
    frame: Frame<P>;
    message: MessageFrame<P>;
    'message:edit': MessageEditFrame<P>;
    'message:delete': MessageDeleteFrame;
    presence: PresenceFrame;
    user_state_change: UserStateFrame;
}

export interface ConnectionEvents extends FrameEvents {
    state: StateEvent;
    connect: ConnectEvent;
    open: OpenEvent;
    close: CloseEvent;
    retry: RetryEvent;
    channels: ChannelsEvent;
    error: ChannelStreamError;
}

export type SubscriptionState = 'unsubscribed' | 'subscribing' | 'subscribed';

export interface SubscriptionStateEvent {
    state: SubscriptionState;
    previous: SubscriptionState;
}

export interface HistoryEvent<P = Payload> {
    /** All that are known now, oldest first. */
    messages: StoredMessage<P>[];
    /** Those among them that this page sees for the first time. No `message` event of the channel tells them again. */
    missed: StoredMessage<P>[];
}

export interface ChannelEvents<P = Payload> extends FrameEvents<P> {
    state: SubscriptionStateEvent;
    /** Somebody is there who was not. */
    join: User;
    /** Somebody is gone. */
    leave: User;
    /** The list of members, or the state of one, has changed. */
    members: User[];
    /** The messages kept were brought up to date from the server's history. */
    history: HistoryEvent<P>;
    error: ChannelStreamError;
}

/** Has listeners; those of one event are called in the order in which they were added. */
export class Emitter<Events> {
    /**
     * Adds a listener. What it throws is reported as an uncaught error and disturbs nobody else.
     *
     * @returns a function that removes it
     * @throws TypeError if there is no such event
     */
    on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
    /** Adds a listener that is called once. */
    once<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
    /** Removes a listener. */
    off<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): void;
}

// ---- Errors --------------------------------------------------------------------------------------------------------

export type ErrorCode =
    /** No answer came. */
    | 'network'
    /** No answer came in time. */
    | 'timeout'
    /** The answer was a refusal: see `status` and `data`. */
    | 'refused'
    /** The answer was not what was asked for. */
    | 'answer'
    /** The connection or the subscription was ended before. */
    | 'closed';

/** Why a call failed. */
export class ChannelStreamError extends Error {
    readonly name: 'ChannelStreamError';
    readonly code: ErrorCode;
    /** What failed: a kind of request, or `ready`. */
    readonly operation: string;
    /** Status of the answer; 0 without one. */
    readonly status: number;
    /** Body of the answer, as JSON if it is JSON. */
    readonly data: any;
}

// ---- Connection ----------------------------------------------------------------------------------------------------

/** One request to the web application. Mutators get it before it is sent. */
export class ChannelStreamRequest {
    url: string;
    /** Sent as JSON; without a body the request is a GET. */
    body: any;
    headers: { name: string; value: string }[];
    timeoutMs: number;
    /** There once the request is on its way. Without XMLHttpRequest an object with the same members, which uses fetch. */
    request: XMLHttpRequest | null;
    /** Called with an answer whose status is at most 400. */
    handleResponse(request: XMLHttpRequest, data: any): void;
    /** Called with any other status, and with status 0 when no answer came. */
    handleError(request: XMLHttpRequest, data: any): void;
    /** Called while the request is under way. */
    handleRequest(request: XMLHttpRequest): void;
    /** Sends the request; by default POST with a body and GET without. */
    execute(verb?: string): void;
    /** Ends the request without calling any of its handlers. */
    abort(): void;
}

export type Mutator = (request: ChannelStreamRequest) => void;

export type RequestKind =
    | 'connect'
    | 'disconnect'
    | 'subscribe'
    | 'unsubscribe'
    | 'message'
    | 'messageEdit'
    | 'messageDelete'
    | 'userState'
    | 'info';

/** What happens inside, for who looks for a fault. */
export type Logger = (event: string, details: Record<string, unknown>) => void;

/** Settings of a connection; each is also a property of it. */
export interface ConnectionOptions {
    /** Sent to `connectUrl`. Default: Anonymous. */
    username: string;
    /** Asked for with connect(); afterwards those the server has confirmed. */
    channels: string[];
    /** View of the web application that answers with a connection id. */
    connectUrl: string;
    /** View for subscribe(). */
    subscribeUrl: string;
    /** View for unsubscribe(). */
    unsubscribeUrl: string;
    /** View for updateUserState(). */
    userStateUrl: string;
    /** View for message(). */
    messageUrl: string;
    /** View for edit(). */
    messageEditUrl: string;
    /** View for delete(). */
    messageDeleteUrl: string;
    /** View for info(). */
    infoUrl: string;
    /** The server's websocket, ws: or wss:. Empty: long-polling only. */
    websocketUrl: string;
    /** The server's long-polling. Empty: websocket only. */
    longPollUrl: string;
    /** The server's /disconnect, which disconnect() calls. */
    disconnectUrl: string;
    /** Whether to come back after a failure. Default: true. */
    shouldReconnect: boolean;
    /** Whether to use long-polling only. Default: false. */
    noWebsocket: boolean;
    /** Whether to send a sign of life on the websocket every ten seconds. Default: true. */
    heartbeats: boolean;
    /** Upper bound of the first wait before a reconnect, in ms; it doubles with every failure. Default: 2000. */
    increaseBounceIv: number;
    /** Upper bound of any such wait, in ms. Default: 60000. */
    maxReconnectDelayMs: number;
    /** How long the server keeps a lost connection, its `grace_time_ms`, in ms. Default: 30000. */
    graceTimeMs: number;
    /** Silence that ends a websocket, in ms; null: three heartbeats of the server, at least 15 s. Default: null. */
    silenceTimeoutMs: number | null;
    /** How long to wait for an answer of the web application, in ms. Default: 120000. */
    requestTimeoutMs: number;
    /** Whether to tell `disconnectUrl` when the page is closed. Default: false. */
    disconnectOnPagehide: boolean;
    /** Whether to print what happens to the console. Default: false. */
    debug: boolean;
    /** Gets what happens inside. Default: null. */
    logger: Logger | null;
}

/**
 * A page's connection: it listens on the channelstream server and sends everything else to the web application.
 *
 * Methods that send return a promise. Who does not look at it need not catch it: callbacks and the event `error` tell
 * of failures as well.
 */
export class ChannelStreamConnection extends Emitter<ConnectionEvents> implements ConnectionOptions {
    /** @throws TypeError if there is no such option */
    constructor(options?: Partial<ConnectionOptions & ConnectionCallbacks>);

    static readonly version: string;

    username: string;
    channels: string[];
    connectUrl: string;
    subscribeUrl: string;
    unsubscribeUrl: string;
    userStateUrl: string;
    messageUrl: string;
    messageEditUrl: string;
    messageDeleteUrl: string;
    infoUrl: string;
    websocketUrl: string;
    longPollUrl: string;
    disconnectUrl: string;
    shouldReconnect: boolean;
    noWebsocket: boolean;
    heartbeats: boolean;
    increaseBounceIv: number;
    maxReconnectDelayMs: number;
    graceTimeMs: number;
    silenceTimeoutMs: number | null;
    requestTimeoutMs: number;
    disconnectOnPagehide: boolean;
    debug: boolean;
    logger: Logger | null;

    /** Given by the server. */
    connectionId: string | null;
    /** The socket in use. */
    websocket: WebSocket | null;
    /** Whether it is listening: the same as `state === 'connected'`. */
    connected: boolean;
    readonly state: ConnectionState;
    /** What it listens on, null while it does not. */
    readonly transport: TransportName | null;
    mutators: Record<RequestKind, Mutator[]>;

    /** Asks the web application for a connection id and listens, until closeConnection() or disconnect(). */
    connect(): Promise<OpenEvent>;
    /** Settles once it listens; fails with `closed` if it is ended before, with `timeout` after so many ms. */
    ready(timeoutMs?: number): Promise<OpenEvent>;
    /** Stops listening and tells the server at `disconnectUrl` to forget the connection. */
    disconnect(): Promise<any>;
    /** Stops listening. */
    closeConnection(): void;

    /** Joins channels: POST to `subscribeUrl`. Without channels nothing is sent. */
    subscribe(channels: string[]): Promise<SubscribeReply>;
    /** Leaves channels: POST to `unsubscribeUrl`. */
    unsubscribe(channels: string[]): Promise<SubscribeReply>;
    /** The channel of this name, always the same object. Joined by its subscribe(). */
    channel<P = Payload>(name: string): ChannelStreamChannel<P>;
    /** Those among the channels that are not joined. */
    calculateSubscribe(channels: string[]): string[];
    /** Those among the channels that are joined. */
    calculateUnsubscribe(channels?: string[]): string[];

    /** Sends a message: POST to `messageUrl`. */
    message(message: any): Promise<any>;
    /** Changes a message: PATCH to `messageEditUrl`. */
    edit(message: any): Promise<any>;
    /** Takes a message back: DELETE to `messageDeleteUrl`. */
    delete(message: any): Promise<any>;
    /** Changes the user's state: POST to `userStateUrl`. */
    updateUserState(state: UserState): Promise<any>;
    /** Asks who is in the channels and what was said: POST to `infoUrl`. */
    info(channels?: string[]): Promise<ChannelsInfo>;

    /** Adds a function that may change requests of a kind before they are sent. */
    addMutator(kind: RequestKind, mutator: Mutator): void;

    // What connect() does by itself, kept for pages that do it one by one.
    startListening(request?: any, data?: any): void;
    openWebsocket(): void;
    openLongPoll(): void;
    createHeartBeats(): void;
    retryConnection(): void;
}

/** The callbacks; see docs/browser-library.md. A page assigns its own to those it wants. */
export interface ConnectionCallbacks {
    connectCallback(request: XMLHttpRequest, data: ConnectReply): void;
    connectErrorCallback(request: XMLHttpRequest, data: any): void;
    disconnectCallback(request: XMLHttpRequest, data: any): void;
    disconnectErrorCallback(request: XMLHttpRequest, data: any): void;
    subscribeCallback(request: XMLHttpRequest, data: SubscribeReply): void;
    subscribeErrorCallback(request: XMLHttpRequest, data: any): void;
    unsubscribeCallback(request: XMLHttpRequest, data: SubscribeReply): void;
    unsubscribeErrorCallback(request: XMLHttpRequest, data: any): void;
    messageCallback(request: XMLHttpRequest, data: any): void;
    messageErrorCallback(request: XMLHttpRequest, data: any): void;
    messageEditCallback(request: XMLHttpRequest, data: any): void;
    messageEditErrorCallback(request: XMLHttpRequest, data: any): void;
    messageDeleteCallback(request: XMLHttpRequest, data: any): void;
    messageDeleteErrorCallback(request: XMLHttpRequest, data: any): void;
    setUserStateCallback(request: XMLHttpRequest, data: any): void;
    setUserStateErrorCallback(request: XMLHttpRequest, data: any): void;
    channelsChangedCallback(channels: string[]): void;
    beforeListeningCallback(request?: any, data?: any): void;
    /** `request` is the socket's event or the poll's XMLHttpRequest. */
    listenOpenedCallback(request: any, data?: any): void;
    listenMessageCallback(messages: Frame[]): void;
    listenErrorCallback(request: any, data?: any): void;
    /** Of a websocket only; `request` is its event. */
    listenCloseCallback(request: any, data?: any): void;
    connectionClosedCallback(): void;
}

export interface ChannelStreamConnection extends ConnectionCallbacks {}

// ---- Channel -------------------------------------------------------------------------------------------------------

/** One channel of a connection. Made by `connection.channel(name)`. */
export class ChannelStreamChannel<P = Payload> extends Emitter<ChannelEvents<P>> {
    private constructor();

    readonly name: string;
    readonly connection: ChannelStreamConnection;
    readonly state: SubscriptionState;
    /** Who is there, by name. Needs `notify_presence` to be followed. */
    readonly members: User[];
    /** The last messages, oldest first, with edits and deletions done. */
    readonly messages: StoredMessage<P>[];
    /** How many messages to keep. Default: 100. */
    messageLimit: number;
    /** What the server told of the channel at last. */
    readonly info: ChannelInfo<P> | null;

    /**
     * Joins the channel and stays in it, over reconnects too. Before connect() it waits for it; several in one go are
     * one request. Fails if the channel is refused, or left before it was joined.
     */
    subscribe(): Promise<void>;
    /** Leaves the channel. */
    unsubscribe(): Promise<void>;
    /** Sends `{channel, user, message}` and whatever else is given to `messageUrl`. */
    publish(message: P, more?: Record<string, any>): Promise<any>;
    /** Sends `{channel, uuid, message}` and whatever else is given to `messageEditUrl`. */
    edit(uuid: string, message: P, more?: Record<string, any>): Promise<any>;
    /** Sends `{channel, uuid}` and whatever else is given to `messageDeleteUrl`. */
    delete(uuid: string, more?: Record<string, any>): Promise<any>;
    /** Brings members and messages up to date from `infoUrl`. */
    refresh(): Promise<void>;
}

// ---- Signer --------------------------------------------------------------------------------------------------------

/** Signs requests to the server's API. Only for pages of the server's operator: whoever has the secret may do all. */
export class ChannelStreamSigner {
    constructor(secret: string);
    secret: string;
    /** A signature for one request, good for 60 seconds. */
    signRequest(): string;
    /** The signature of a value, at a time in Unix seconds. */
    sign(value: string, seconds?: number): string;
}
