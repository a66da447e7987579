import { ChannelStreamConnection } from './channelstream/index.js';
import { base } from './dom.js';

/** A user who listens. A real page does the same, but its application calls `/connect`. */
export class Listener {
    /**
     * @param {string} user
     * @param {function(): string} signature of a request, for a new `/connect` after the server has removed the user
     */
    constructor(user, signature) {
        this.user = user;
        this.state = 'not connected';
        this.onFrames = () => {};
        this.onState = () => {};
        const connection = new ChannelStreamConnection();
        connection.username = user;
        connection.channels = ['/tutorial-1'];
        connection.connectUrl = `${base}/connect`;
        connection.websocketUrl = `${base.replace(/^http/, 'ws')}/ws`;
        connection.longPollUrl = `${base}/listen`;
        connection.addMutator('connect', (request) => {
            request.headers['x-channelstream-secret'] = signature();
        });
        connection.listenOpenedCallback = () => this.show('listening');
        connection.listenCloseCallback = () => this.show('connection lost, trying again…');
        connection.listenErrorCallback = () => this.show('connection lost, trying again…');
        connection.connectErrorCallback = () => this.show('the server cannot be reached, trying again…');
        connection.listenMessageCallback = (frames) => this.onFrames(frames);
        this.connection = connection;
    }

    /** Listens with a connection that `/connect` has created. */
    listen(connectionId) {
        this.connection.shouldReconnect = false;
        this.connection.closeConnection();
        this.connection.shouldReconnect = true;
        this.connection.connectionId = connectionId;
        this.connection.startListening();
    }

    show(state) {
        this.state = state;
        this.onState(state);
    }
}
