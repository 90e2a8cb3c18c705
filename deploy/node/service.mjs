// An HTTPS service in Node.js that admits Genesys Cloud's client certificates by the files of trustsync.
//
//     node service.mjs ADDRESS:PORT LINK CERTIFICATE KEY       LINK: /var/lib/trustsync/target/NAME
//
// Copy `Trust` and what calls it; the rest is a small server to show where. Node.js 18 or newer, nothing else.
//
// - The TLS layer verifies the chain (trust-bundle.pem). That alone admits strangers: public authorities sign for others too.
// - `trust.admits` is called at *every request*: it refuses kept and resumed connections of a leaf that left, too.
// - The link is read before each handshake and each request. A new generation is loaded whole, or not at all: then the
//   one before stays, and the generation in the answer says so.
// - A client gets 403 unless its certificate verifies and is admitted. `rejectUnauthorized: false` leaves that to us.
// - Answers to this machine name the loaded generation, X-Trustsync-Generation: by it trustsync proves what is loaded.

import { X509Certificate } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:https';
import { dirname, join } from 'node:path';

/** One generation of trust, as loaded. Anything unexpected in it is an error. */
class Generation {
  constructor(directory) {
    const lines = readFileSync(join(directory, 'fingerprints.txt'), 'latin1').split('\n');
    const head = /^# trustsync generation (\d{6,}) store (\S+)$/.exec(lines[0]);
    if (!head || lines.pop() !== '') throw new Error('fingerprints.txt is incomplete');
    this.number = head[1];
    this.pins = new Set();
    this.denied = new Set();
    this.names = [];
    const bundle = readFileSync(join(directory, 'trust-bundle.pem'), 'latin1');
    this.authorities = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
    for (const line of lines) {
      const fields = line.split(' ');
      if (line.startsWith('#')) continue;
      if (/^(current|upcoming|trusted|retiring)$/.test(fields[0]) && fields.length === 5) {
        this.pins.add(hash(fields[1], 'sha256:'));
      } else if (fields[0] === 'denied' && fields.length === 3) {
        this.denied.add(hash(fields[1], 'sha256='));
      } else if (fields[0] === 'name' && fields.length === 3) {
        this.names.push({ root: this.authority(hash(fields[1], 'root=')), name: fields[2].toLowerCase() });
      } else {
        throw new Error(`fingerprints.txt has an unknown line: ${JSON.stringify(line)}`);
      }
    }
  }

  authority(fingerprint) {
    const root = this.authorities.map((pem) => new X509Certificate(pem)).find((each) => sha256(each) === fingerprint);
    if (!root) throw new Error(`the root ${fingerprint} is not in trust-bundle.pem`);
    return root;
  }
}

function hash(field, prefix) {
  const value = field.slice(prefix.length);
  if (!field.startsWith(prefix) || !/^[0-9a-f]{64}$/.test(value)) throw new Error(`${field} is not a fingerprint`);
  return value;
}

const sha256 = (certificate) => certificate.fingerprint256.replaceAll(':', '').toLowerCase();

/** The newest generation behind a target's link that could be loaded. */
class Trust {
  #link;
  #target;
  #generation;
  #loaded;

  /** `loaded` is called with the options for new handshakes whenever they change. */
  constructor(link) {
    this.#link = link;
    if (!this.current()) throw new Error(`${link}: no generation could be loaded, and no client would be admitted`);
  }

  onLoad(loaded) {
    this.#loaded = loaded;
  }

  /** The generation that decides, loaded anew if the link has moved. */
  current() {
    try {
      const target = readlinkSync(this.#link);
      if (target !== this.#target) {
        const fresh = new Generation(join(dirname(this.#link), target));
        this.#loaded?.(fresh);
        this.#generation = fresh;
        this.#target = target;
      }
    } catch (error) {
      console.error(`${this.#link} was not loaded (${error.message}); what is loaded stays`);
    }
    return this.#generation;
  }

  /** Whether the client of this TLS socket is admitted, by the newest generation. */
  admits(socket) {
    const generation = this.current();
    const der = socket.getPeerCertificate()?.raw;
    // `authorized` says that the chain verified. A resumed session keeps that result, and its leaf is checked anew here.
    if (!der || !socket.authorized) return false;
    const leaf = new X509Certificate(der);
    const fingerprint = sha256(leaf);
    if (generation.denied.has(fingerprint)) return false;
    if (generation.pins.has(fingerprint)) return true;
    const isSignedBy = (root) => leaf.checkIssued(root) && leaf.verify(root.publicKey);
    return generation.names.some(({ root, name }) => (name === '*' || hasName(leaf, name)) && isSignedBy(root));
  }
}

/** Whether the leaf has the name: among its dNSNames or, without any, as its only commonName, if no RDN has several values. */
function hasName(leaf, name) {
  // Node.js quotes a name that could be taken for more than one.
  const alternative = (leaf.subjectAltName ?? '').split(', ').filter((each) => each.startsWith('DNS:'));
  if (alternative.length > 0) return alternative.some((each) => each.toLowerCase() === `dns:${name}`);
  // One line for each RDN; several values are joined by " + ", and a + within one is escaped.
  const common = leaf.subject.split('\n').filter((rdn) => rdn.startsWith('CN='));
  return !leaf.subject.includes(' + ') && common.length === 1 && common[0].toLowerCase() === `cn=${name}`;
}

const [listen, link, certificate, key] = process.argv.slice(2);
const [, host, port] = /^(.*):(\d+)$/.exec(listen);
const pair = { cert: readFileSync(certificate), key: readFileSync(key) };
const trust = new Trust(link);
const options = (generation) => ({ ...pair, ca: generation.authorities });

const server = createServer(
  { ...options(trust.current()), requestCert: true, rejectUnauthorized: false },
  (request, response) => {
    const admitted = trust.admits(request.socket);
    if (['127.0.0.1', '::1', '::ffff:127.0.0.1'].includes(request.socket.remoteAddress)) {
      response.setHeader('X-Trustsync-Generation', trust.current().number);
    }
    if (!admitted) response.setHeader('Connection', 'close');
    response.writeHead(admitted ? 200 : 403);
    response.end(admitted ? 'in\n' : 'this certificate is not admitted\n');
  },
);
trust.onLoad((generation) => server.setSecureContext(options(generation)));
// Before the server's own listener, which begins the handshake.
server.prependListener('connection', () => trust.current());
server.listen(Number(port), host);
