<?php
// == setup ==
// PHP 8 with its curl extension
const B64 = ['+' => '-', '/' => '_', '=' => ''];
$server = getenv('CHANNELSTREAM_URL') ?: 'http://127.0.0.1:8000';
$secret = getenv('CHANNELSTREAM_SECRET') ?: 'secret';

function signature(string $secret): string
{
    $signed = 'channelstream.' . strtr(base64_encode(pack('N', time())), B64);
    $key = sha1('itsdangerous.Signersigner' . $secret, true);
    return $signed . '.' . strtr(base64_encode(hash_hmac('sha1', $signed, $key, true)), B64);
}

function call(string $method, string $path, array $body): array
{
    global $server, $secret;
    $request = curl_init($server . $path);
    curl_setopt_array($request, [
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_POSTFIELDS => json_encode($body),
        CURLOPT_HTTPHEADER => ['Content-Type: application/json', 'x-channelstream-secret: ' . signature($secret)],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 10,
    ]);
    $reply = curl_exec($request);
    $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
    if ($status !== 200) {
        throw new RuntimeException("$status $reply");
    }
    return json_decode($reply, true);
}

// == connect ==
$alice = call('POST', '/connect', ['username' => 'alice', 'channels' => ['/tutorial-1']]);
$bob = call('POST', '/connect', ['username' => 'bob', 'channels' => ['/tutorial-1']]);
echo "alice listens with {$alice['conn_id']}\n";

// == subscribe ==
$joined = call('POST', '/subscribe', ['conn_id' => $alice['conn_id'], 'channels' => ['/tutorial-2']]);
echo 'alice is now in ', implode(', ', $joined['channels']), "\n";

// == message ==
[$message] = call('POST', '/message', [[
    'user' => 'system',
    'channel' => '/tutorial-1',
    'message' => ['text' => 'This can serve as notification', 'level' => 'warning'],
]]);
echo "sent {$message['uuid']}\n";

// == edit ==
call('PATCH', '/message', [[
    'uuid' => $message['uuid'],
    'channel' => '/tutorial-1',
    'message' => ['text' => 'It has been taken care of', 'level' => 'info'],
]]);

// == delete ==
call('DELETE', '/message', [['uuid' => $message['uuid'], 'channel' => '/tutorial-1']]);

// == private ==
call('POST', '/message', [[
    'user' => 'alice',
    'pm_users' => ['bob'],
    'message' => ['text' => 'Only bob gets this'],
]]);

// == state ==
$state = call('POST', '/user_state', [
    'user' => 'alice',
    'user_state' => ['status' => 'away', 'age' => 36],
    'state_public_keys' => ['status'],
]);
echo "alice is {$state['user_state']['status']}\n";

// == info ==
$info = call('POST', '/info', ['info' => ['channels' => ['/tutorial-1']]]);
echo 'in /tutorial-1: ', implode(', ', $info['channels']['/tutorial-1']['users']), "\n";
