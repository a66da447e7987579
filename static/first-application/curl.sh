# == setup ==
# curl, and openssl to sign; `channelstream sign` does the same
set -eu
server=${CHANNELSTREAM_URL:-http://127.0.0.1:8000}
secret=${CHANNELSTREAM_SECRET:-secret}

base64url() { base64 | tr -d '=\n' | tr '+/' '-_'; }

signature() {
    now=$(date +%s)
    octal=$(printf '\\0%03o' $((now >> 24)) $((now >> 16 & 255)) $((now >> 8 & 255)) $((now & 255)))
    signed="channelstream.$(printf '%b' "$octal" | base64url)"
    key=$(printf 'itsdangerous.Signersigner%s' "$secret" | openssl dgst -sha1 -r | cut -d ' ' -f 1)
    mac=$(printf '%s' "$signed" | openssl dgst -sha1 -mac HMAC -macopt "hexkey:$key" -binary | base64url)
    printf '%s.%s' "$signed" "$mac"
}

call() { # METHOD PATH BODY
    curl --silent --show-error --fail-with-body --max-time 10 --request "$1" "$server$2" \
        --header "x-channelstream-secret: $(signature)" --header 'Content-Type: application/json' --data "$3"
    echo
}

value() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

# == connect ==
alice=$(call POST /connect '{"username": "alice", "channels": ["/tutorial-1"]}' | value conn_id)
bob=$(call POST /connect '{"username": "bob", "channels": ["/tutorial-1"]}' | value conn_id)
echo "alice listens with $alice"

# == subscribe ==
call POST /subscribe "{\"conn_id\": \"$alice\", \"channels\": [\"/tutorial-2\"]}"

# == message ==
message=$(call POST /message '[{
    "user": "system",
    "channel": "/tutorial-1",
    "message": {"text": "This can serve as notification", "level": "warning"}
}]' | value uuid)
echo "sent $message"

# == edit ==
call PATCH /message "[{
    \"uuid\": \"$message\",
    \"channel\": \"/tutorial-1\",
    \"message\": {\"text\": \"It has been taken care of\", \"level\": \"info\"}
}]"

# == delete ==
call DELETE /message "[{\"uuid\": \"$message\", \"channel\": \"/tutorial-1\"}]"

# == private ==
call POST /message '[{
    "user": "alice",
    "pm_users": ["bob"],
    "message": {"text": "Only bob gets this"}
}]'

# == state ==
call POST /user_state '{
    "user": "alice",
    "user_state": {"status": "away", "age": 36},
    "state_public_keys": ["status"]
}'

# == info ==
call POST /info '{"info": {"channels": ["/tutorial-1"]}}'
