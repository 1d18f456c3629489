// Asks the browser for a passkey, new or known, and sends what it made.

const form = document.querySelector("form[data-passkey]");

const text = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const bytes = (base64) =>
  Uint8Array.from(atob(base64.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
const utf8 = (value) => new TextEncoder().encode(value);

const made = () => {
  const { passkey, user, name, shown, known } = form.dataset;
  const site = location.hostname;
  const asked = { challenge: utf8(passkey), timeout: 240000 };
  if (!user) return navigator.credentials.get({ publicKey: { ...asked, rpId: site, userVerification: "required" } });
  return navigator.credentials.create({
    publicKey: {
      ...asked,
      rp: { id: site, name: "shroff" },
      user: { id: utf8(user), name, displayName: shown },
      pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: JSON.parse(known).map(({ id }) => ({ type: "public-key", id: bytes(id) })),
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      attestation: "none",
    },
  });
};

// As `PublicKeyCredential.toJSON` has it, which older browsers lack.
const written = ({ id, rawId, type, response, authenticatorAttachment }) => {
  const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const parts = names.filter((name) => response[name]).map((name) => [name, text(response[name])]);
  return JSON.stringify({
    id, rawId: text(rawId), type, authenticatorAttachment, response: Object.fromEntries(parts), clientExtensionResults: {},
  });
};

const ask = async () => {
  const [says, refused, button] = ["[data-says]", "[data-refused]", "button"].map((at) => form.querySelector(at));
  button.disabled = true;
  [says.hidden, refused.hidden] = [false, true];
  try {
    form.elements.credential.value = written(await made());
    form.submit();
  } catch {
    [says.hidden, refused.hidden] = [true, false];
    button.disabled = false;
  }
};

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  ask();
}
