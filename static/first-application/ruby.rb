# == setup ==
# Ruby 3, nothing to install
require "base64"
require "json"
require "net/http"
require "openssl"

SERVER = ENV.fetch("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
SECRET = ENV.fetch("CHANNELSTREAM_SECRET", "secret")

def signature
  signed = "channelstream." + Base64.urlsafe_encode64([Time.now.to_i].pack("N"), padding: false)
  key = OpenSSL::Digest::SHA1.digest("itsdangerous.Signersigner" + SECRET)
  mac = OpenSSL::HMAC.digest("SHA1", key, signed)
  "#{signed}.#{Base64.urlsafe_encode64(mac, padding: false)}"
end

def call(method, path, body)
  uri = URI(SERVER + path)
  request = Net::HTTPGenericRequest.new(method, true, true, uri)
  request["x-channelstream-secret"] = signature
  request["content-type"] = "application/json"
  request.body = JSON.generate(body)
  reply = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") { |http| http.request(request) }
  raise "#{reply.code} #{reply.body}" unless reply.is_a?(Net::HTTPSuccess)
  JSON.parse(reply.body)
end

# == connect ==
alice = call("POST", "/connect", { username: "alice", channels: ["/tutorial-1"] })
bob = call("POST", "/connect", { username: "bob", channels: ["/tutorial-1"] })
puts "alice listens with #{alice["conn_id"]}"

# == subscribe ==
joined = call("POST", "/subscribe", { conn_id: alice["conn_id"], channels: ["/tutorial-2"] })
puts "alice is now in #{joined["channels"].join(", ")}"

# == message ==
message = call("POST", "/message", [{
  user: "system",
  channel: "/tutorial-1",
  message: { text: "This can serve as notification", level: "warning" }
}]).first
puts "sent #{message["uuid"]}"

# == edit ==
call("PATCH", "/message", [{
  uuid: message["uuid"],
  channel: "/tutorial-1",
  message: { text: "It has been taken care of", level: "info" }
}])

# == delete ==
call("DELETE", "/message", [{ uuid: message["uuid"], channel: "/tutorial-1" }])

# == private ==
call("POST", "/message", [{
  user: "alice",
  pm_users: ["bob"],
  message: { text: "Only bob gets this" }
}])

# == state ==
state = call("POST", "/user_state", {
  user: "alice",
  user_state: { status: "away", age: 36 },
  state_public_keys: ["status"]
})
puts "alice is #{state["user_state"]["status"]}"

# == info ==
info = call("POST", "/info", { info: { channels: ["/tutorial-1"] } })
puts "in /tutorial-1: #{info["channels"]["/tutorial-1"]["users"].join(", ")}"
