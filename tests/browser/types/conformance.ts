/** The declarations promise what the sources do: each exported class can stand for the one that is declared. */
import * as declared from '../../../static/channelstream/index.js';
import * as sources from '../../../static/channelstream/src/index.js';

export const connection: typeof declared.ChannelStreamConnection = sources.ChannelStreamConnection;
export const request: typeof declared.ChannelStreamRequest = sources.ChannelStreamRequest;
export const signer: typeof declared.ChannelStreamSigner = sources.ChannelStreamSigner;
