# python example
import requests
from itsdangerous import TimestampSigner

# create auth header for backend request
signer = TimestampSigner("secret")
sig_for_server = signer.sign("channelstream")
secret_headers = {
    "x-channelstream-secret": sig_for_server,
    "Content-Type": "application/json",
}
# send messages
payload = [
    {
        "user": "system",
        "channel": "/tutorial-1",
        "message": {
            "text": "This can serve as notification",
            "level": "warning"
        }
    }
]
response = requests.post("http://127.0.0.1:8000/connect", data=json.dumps(payload), headers=secret_headers)
