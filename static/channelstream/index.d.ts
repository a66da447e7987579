/**
 * The browser library of channelstream. docs/browser-library.md of the project describes each part and how the parts
 * work together.
 */
export as namespace ChannelStream;

// ---- What the server sends -----------------------------------------------------------------------------------------

/** The content that an application puts into a message. */
export type Payload = Record<string, any>;

/** A user's state. Other users see only its public keys. */
export type UserState = Record<string, string | number | boolean | null>;

/** A message was published. */
export interface MessageFrame<P = Payload> {
    type: 'message';
    /** Null for a message that was sent to users rather than to a channel. */
    channel: string | null;
    uuid: string;
    user: string;
    /** ISO 8601. A time without a zone is UTC. */
    timestamp: string;
    /** Equal to `timestamp`. Absent if the server's `date_in_frames` is off. */
    date?: string;
    /** Absent if the message was sent without content. */
    message: P;
    /** When the message was last changed, or null. */
    edited: string | null;
    /** Whether it was sent before this transport was opened. */
    catchup: boolean;
    /** Its number in the channel, or in the private messages. Absent if the server is older, or `resume` is off. */
    offset?: number;
}

/** A message was changed. Unchanged keys are absent, so merge the frame over the stored message. */
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
    offset?: number;
}

/** A message was deleted. */
export interface MessageDeleteFrame {
    type: 'message:delete';
    channel: string | null;
    uuid: string;
    catchup?: boolean;
    offset?: number;
}

/** A user in the list of a channel's members. */
export interface User {
    user: string;
    state: UserState;
}

/** A user's first connection joined a channel, or the last one left it. Not sent to that user. */
export interface PresenceFrame {
    type: 'presence';
    channel: string;
    uuid: string;
    user: string;
    timestamp: string;
    date?: string;
    message: { action: 'joined' | 'parted' };
    /** The public state of the user. */
    state: UserState | null;
    /** All members if the channel's `broadcast_presence_with_user_lists` is on, otherwise empty. */
    users: User[];
    catchup: boolean;
    offset?: number;
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
    offset?: number;
}

/** Any frame of the server. Ignore unknown types, because later servers may add types. */
export type Frame<P = Payload> =
    | MessageFrame<P>
    | MessageEditFrame<P>
    | MessageDeleteFrame
    | PresenceFrame
    | UserStateFrame;

/** A message in a channel's history. */
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

/** The server's information about a channel. */
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

/** The server's information about several channels. */
export interface ChannelsInfo {
    channels: Record<string, ChannelInfo>;
    users: User[];
}

/** The response of `connectUrl`: the part of the server's response to `/connect` that the page may receive. */
export interface ConnectReply {
    conn_id: string;
    channels?: string[];
    channels_info?: ChannelsInfo;
    username?: string;
    state?: UserState;
    public_state?: UserState;
    [key: string]: any;
}

/** The response of `subscribeUrl` and `unsubscribeUrl`. */
export interface SubscribeReply {
    channels?: string[];
    channels_info?: ChannelsInfo;
    subscribed_to?: string[];
    unsubscribed_from?: string[];
    [key: string]: any;
}

// ---- Events --------------------------------------------------------------------------------------------------------

/** The state of a connection. */
export type ConnectionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'failed';

/** Why the connection is in its state. */
export type StateReason =
    /** connect() was called. */
    | 'connect'
    /** Listening has started. */
    | 'open'
    /** The transport ended. */
    | 'lost'
    /** The server no longer knows the connection id. */
    | 'forgotten'
    /** The user has left the page, or the browser has frozen it; the page may be shown again. */
    | 'suspended'
    /** closeConnection() or disconnect() was called. */
    | 'closed'
    /** Another socket or poll uses this connection id. */
    | 'taken-over'
    /** The application has ended the connection, or the server has blocked the user. */
    | 'ended'
    /** connect() failed and `shouldReconnect` is off, or `getToken` failed three times in a row. */
    | 'failed';

export type TransportName = 'websocket' | 'sse' | 'longpoll';

export interface StateEvent {
    state: ConnectionState;
    previous: ConnectionState;
    reason: StateReason;
}

export interface ConnectEvent {
    connectionId: string;
    /** The previous id, null at first. After a new id, messages sent in between are only in the history. */
    previousId: string | null;
    /** The response of `connectUrl`. */
    data: ConnectReply;
}

export interface OpenEvent {
    transport: TransportName;
    connectionId: string;
    /** Whether listening continues where it ended, with the previous connection id. */
    resumed: boolean;
    /** Whether frames may be missing: the id is new, or a broken transport may have lost bytes. */
    gap: boolean;
}

export interface CloseEvent {
    transport: TransportName;
    /** Close code of the websocket, or 1006 if there was none. */
    code?: number;
    /** Status of the poll, or 0 if there was no response. */
    status?: number;
    /** The reason that the server gave. */
    reason: string;
    /** Whether it ended in order. Otherwise data in flight is lost. */
    clean: boolean;
}

export interface RetryEvent {
    /** 1 for the first attempt since the last success. */
    attempt: number;
    delayMs: number;
    /** Whether the library will request a new connection id, or resume listening with the present one. */
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
    /** Once for each stream after a return: whether everything that was sent meanwhile follows. */
    recovered: RecoveredEvent;
    error: ChannelStreamError;
}

/** Why frames were lost. Later servers may add reasons. */
export type LossReason = 'evicted' | 'not-kept' | 'epoch' | 'restart' | 'ahead' | 'joined-later' | (string & {});

/** The offsets of the frames that may be lost: those after `after`, up to and including `upto`. */
export interface Gap {
    after: number;
    upto: number;
}

export interface GapEvent {
    reason: LossReason | null;
    /** Null if the offsets are unknown. */
    gap: Gap | null;
}

export interface RecoveredEvent extends GapEvent {
    /** Null for the private messages. */
    channel: string | null;
    /** Whether all frames since the last one follow. The `reason` is null then. */
    recovered: boolean;
}

export type SubscriptionState = 'unsubscribed' | 'subscribing' | 'subscribed';

export interface SubscriptionStateEvent {
    state: SubscriptionState;
    previous: SubscriptionState;
}

export interface HistoryEvent<P = Payload> {
    /** All messages known now, oldest first. */
    messages: StoredMessage<P>[];
    /** Those that this page receives for the first time. The channel emits no `message` event for them. */
    missed: StoredMessage<P>[];
}

export interface ChannelEvents<P = Payload> extends FrameEvents<P> {
    state: SubscriptionStateEvent;
    /** A member has joined. */
    join: User;
    /** A member has left. */
    leave: User;
    /** The list of members, or the state of a member, has changed. */
    members: User[];
    /** The kept messages were updated from the server's history. */
    history: HistoryEvent<P>;
    /** Frames were lost. The channel loads its history again if there is an `infoUrl`. */
    gap: GapEvent;
    error: ChannelStreamError;
}

/** Keeps listeners. Listeners of one event are called in the order in which they were added. */
export class Emitter<Events> {
    /**
     * Adds a listener. An exception that it throws is reported as an uncaught error and affects no other listener.
     *
     * @returns a function that removes the listener
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
    /** There was no response. */
    | 'network'
    /** There was no response in time. */
    | 'timeout'
    /** The response was a refusal: see `status` and `data`. */
    | 'refused'
    /** The response did not contain the expected data. */
    | 'answer'
    /** The connection or the subscription ended first. */
    | 'closed';

/** The cause of a failed call. */
export class ChannelStreamError extends Error {
    readonly name: 'ChannelStreamError';
    readonly code: ErrorCode;
    /** The call that failed: a kind of request, `ready`, or `token`. */
    readonly operation: string;
    /** Status of the response, or 0 without one. */
    readonly status: number;
    /** Body of the response, parsed if it is JSON. */
    readonly data: any;
}

// ---- Connection ----------------------------------------------------------------------------------------------------

/** One request to the web application. Mutators receive it before it is sent. */
export class ChannelStreamRequest {
    url: string;
    /** Sent as JSON. A request without a body is a GET. */
    body: any;
    headers: { name: string; value: string }[];
    timeoutMs: number;
    /** Set when the request is sent. Without XMLHttpRequest it is an object with the same members that uses fetch. */
    request: XMLHttpRequest | null;
    /** Called with a response whose status is at most 400. */
    handleResponse(request: XMLHttpRequest, data: any): void;
    /** Called with any other status, and with status 0 if there was no response. */
    handleError(request: XMLHttpRequest, data: any): void;
    /** Called while the request is in flight. */
    handleRequest(request: XMLHttpRequest): void;
    /** Sends the request, by default as POST with a body and as GET without a body. */
    execute(verb?: string): void;
    /** Ends the request without calling any of its handlers. */
    abort(): void;
}

/** Why a token is needed. */
export type TokenReason =
    /** connect() was called. */
    | 'connect'
    /** The present token will expire soon. */
    | 'refresh'
    /** The present token has expired, or the application has ended the connection so that it connects again. */
    | 'expired'
    /** The server has refused the present token. */
    | 'refused';

/** Returns a connection token (a JWT) of the application for the page's user. */
export type GetToken = (request: { user: string; reason: TokenReason }) => Promise<string> | string;

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

/** Receives internal events, for debugging. */
export type Logger = (event: string, details: Record<string, unknown>) => void;

/** Settings of a connection. Each is also a property of the connection. */
export interface ConnectionOptions {
    /** Sent to `connectUrl`. Default: Anonymous. */
    username: string;
    /** The channels that connect() requests; afterwards those that the server has confirmed. */
    channels: string[];
    /** View of the web application that returns a connection id. */
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
    /** The server's websocket address, ws: or wss:. If empty, the connection uses no websocket. */
    websocketUrl: string;
    /** The server's long-polling address. If empty, the connection does not poll. */
    longPollUrl: string;
    /** The server's address of server-sent events. If empty, it is `longPollUrl` with /sse instead of /listen. */
    sseUrl: string;
    /** The transports to use, the preferred one first. Default: websocket, sse, longpoll. */
    transports: TransportName[];
    /** Whether the server continues where the connection was cut, and reports losses. Default: true. */
    resume: boolean;
    /** Returns a token with which the page connects instead of `connectUrl`. Default: null. */
    getToken: GetToken | null;
    /** The server's /disconnect, which disconnect() calls. */
    disconnectUrl: string;
    /** Whether to reconnect after a failure. Default: true. */
    shouldReconnect: boolean;
    /** Whether to use long-polling only. Default: false. */
    noWebsocket: boolean;
    /** Whether to send a heartbeat on the websocket every ten seconds. Default: true. */
    heartbeats: boolean;
    /** Upper bound of the first wait before a reconnect, in ms. It doubles with every failure. Default: 2000. */
    increaseBounceIv: number;
    /** Upper bound of any such wait, in ms. Default: 60000. */
    maxReconnectDelayMs: number;
    /** How long the server keeps a lost connection (its `grace_time_ms`), in ms. Default: 30000. */
    graceTimeMs: number;
    /**
     * Silence that ends a websocket, or after which a stream of events is opened again, in ms. Null: three heartbeat
     * intervals, at least 15 s, and 2 minutes for a stream. Default: null.
     */
    silenceTimeoutMs: number | null;
    /** How long to wait for a response of the web application, in ms. Default: 120000. */
    requestTimeoutMs: number;
    /** Whether to call `disconnectUrl` when the page is closed. Default: false. */
    disconnectOnPagehide: boolean;
    /** Whether to print all events to the console. Default: false. */
    debug: boolean;
    /** Receives internal events. Default: null. */
    logger: Logger | null;
}

/**
 * A page's connection: it listens on the channelstream server and sends everything else to the web application.
 *
 * Methods that send return a promise. You need not catch its rejection: callbacks and the event `error` report
 * failures too.
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
    sseUrl: string;
    transports: TransportName[];
    resume: boolean;
    getToken: GetToken | null;
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

    /** Issued by the server. */
    connectionId: string | null;
    /** The socket in use. */
    websocket: WebSocket | null;
    /** Whether the connection is listening: the same as `state === 'connected'`. */
    connected: boolean;
    readonly state: ConnectionState;
    /** The transport in use, or null while the connection is not listening. */
    readonly transport: TransportName | null;
    mutators: Record<RequestKind, Mutator[]>;

    /** Requests a connection id from the web application and listens until closeConnection() or disconnect(). */
    connect(): Promise<OpenEvent>;
    /** Resolves when it listens. Rejects with `closed` if it ends first, and with `timeout` after `timeoutMs`. */
    ready(timeoutMs?: number): Promise<OpenEvent>;
    /** Stops listening and requests at `disconnectUrl` that the server remove the connection. */
    disconnect(): Promise<any>;
    /** Stops listening. */
    closeConnection(): void;

    /** Joins channels: POST to `subscribeUrl`. Sends nothing if the list is empty. */
    subscribe(channels: string[]): Promise<SubscribeReply>;
    /** Leaves channels: POST to `unsubscribeUrl`. */
    unsubscribe(channels: string[]): Promise<SubscribeReply>;
    /** The channel of this name, always the same object. Its subscribe() joins it. */
    channel<P = Payload>(name: string): ChannelStreamChannel<P>;
    /** Those among the channels that are not joined. */
    calculateSubscribe(channels: string[]): string[];
    /** Those among the channels that are joined. */
    calculateUnsubscribe(channels?: string[]): string[];

    /** Sends a message: POST to `messageUrl`. */
    message(message: any): Promise<any>;
    /** Changes a message: PATCH to `messageEditUrl`. */
    edit(message: any): Promise<any>;
    /** Deletes a message: DELETE to `messageDeleteUrl`. */
    delete(message: any): Promise<any>;
    /** Changes the user's state: POST to `userStateUrl`. */
    updateUserState(state: UserState): Promise<any>;
    /** Requests members and messages of the channels: POST to `infoUrl`. */
    info(channels?: string[]): Promise<ChannelsInfo>;

    /** Adds a function that may change requests of a kind before they are sent. */
    addMutator(kind: RequestKind, mutator: Mutator): void;

    // The single steps of connect(), kept for pages that call them.
    startListening(request?: any, data?: any): void;
    openWebsocket(): void;
    openLongPoll(): void;
    createHeartBeats(): void;
    retryConnection(): void;
}

/** The callbacks; see docs/browser-library.md. A page assigns its own functions to the ones that it needs. */
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
    /** `request` is the event of the socket or the XMLHttpRequest of the poll. */
    listenOpenedCallback(request: any, data?: any): void;
    listenMessageCallback(messages: Frame[]): void;
    listenErrorCallback(request: any, data?: any): void;
    /** Called only for a websocket. `request` is its event. */
    listenCloseCallback(request: any, data?: any): void;
    connectionClosedCallback(): void;
}

export interface ChannelStreamConnection extends ConnectionCallbacks {}

// ---- Channel -------------------------------------------------------------------------------------------------------

/** One channel of a connection. `connection.channel(name)` returns it. */
export class ChannelStreamChannel<P = Payload> extends Emitter<ChannelEvents<P>> {
    private constructor();

    readonly name: string;
    readonly connection: ChannelStreamConnection;
    readonly state: SubscriptionState;
    /** The members, sorted by name. Changes arrive only if the channel's `notify_presence` is on. */
    readonly members: User[];
    /** The last messages, oldest first, with edits and deletions applied. */
    readonly messages: StoredMessage<P>[];
    /** How many messages to keep. Default: 100. */
    messageLimit: number;
    /** The server's latest information about the channel. */
    readonly info: ChannelInfo<P> | null;

    /**
     * Joins the channel and stays in it across reconnects. Before connect() it waits for connect(). Several calls in
     * one turn are one request. Fails if the server refuses the channel, or the page leaves it first.
     */
    subscribe(): Promise<void>;
    /** Leaves the channel. */
    unsubscribe(): Promise<void>;
    /** Sends `{channel, user, message}` and the keys of `more` to `messageUrl`. */
    publish(message: P, more?: Record<string, any>): Promise<any>;
    /** Sends `{channel, uuid, message}` and the keys of `more` to `messageEditUrl`. */
    edit(uuid: string, message: P, more?: Record<string, any>): Promise<any>;
    /** Sends `{channel, uuid}` and the keys of `more` to `messageDeleteUrl`. */
    delete(uuid: string, more?: Record<string, any>): Promise<any>;
    /** Updates members and messages from `infoUrl`. */
    refresh(): Promise<void>;
}

// ---- Signer --------------------------------------------------------------------------------------------------------

/** Signs requests to the server's API. Only for pages of the server's operator: the secret gives full access. */
export class ChannelStreamSigner {
    constructor(secret: string);
    secret: string;
    /** A signature for one request. It is valid for 60 seconds. */
    signRequest(): string;
    /** The signature of a value at a time in Unix seconds. */
    sign(value: string, seconds?: number): string;
}
