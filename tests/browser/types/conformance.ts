/** The declarations match the sources: each exported class is assignable to the declared one. */
import * as declared from '../../../static/channelstream/index.js';
import * as sources from '../../../static/channelstream/src/index.js';

export const connection: typeof declared.ChannelStreamConnection = sources.ChannelStreamConnection;
export const request: typeof declared.ChannelStreamRequest = sources.ChannelStreamRequest;
export const signer: typeof declared.ChannelStreamSigner = sources.ChannelStreamSigner;
