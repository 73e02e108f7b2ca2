// Seals a webhook with crypto-js, as AKOOL's own sample does: the other implementation that ours is held against.
// echo '{"clientId": ..., "clientSecret": ..., "timestamp": ..., "nonce": ..., "content": {...}}' | node encrypt_callback.cjs
const CryptoJS = require("crypto-js");

const wanted = JSON.parse(require("fs").readFileSync(0, "utf8"));
const key = CryptoJS.enc.Utf8.parse(wanted.clientSecret);
const iv = CryptoJS.enc.Utf8.parse(wanted.clientId);
const dataEncrypt = CryptoJS.AES.encrypt(JSON.stringify(wanted.content), key, {
  iv,
  mode: CryptoJS.mode.CBC,
  padding: CryptoJS.pad.Pkcs7,
}).toString();
const parts = [wanted.clientId, String(wanted.timestamp), String(wanted.nonce), dataEncrypt];
const signature = CryptoJS.SHA1(parts.sort().join("")).toString();
process.stdout.write(JSON.stringify({ signature, dataEncrypt, timestamp: wanted.timestamp, nonce: wanted.nonce }));
