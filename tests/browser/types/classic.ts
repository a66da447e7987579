/// <reference path="../../../static/channelstream/index.d.ts" />
// A classic script has a global instead of an import.
{
    const connection = new ChannelStream.ChannelStreamConnection({ username: 'ada' });
    connection.on('message', ({ user }) => user.length);
    const frames: ChannelStream.Frame[] = [];
    connection.listenMessageCallback = (messages) => frames.push(...messages);
}
