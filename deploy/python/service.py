#!/usr/bin/env python3
"""An HTTPS service in Python that admits Genesys Cloud's client certificates by the files of trustsync.

    service.py ADDRESS:PORT LINK CERTIFICATE KEY       LINK: /var/lib/trustsync/target/NAME

Copy `Trust` and what calls it; the rest is a small server to show where. Python 3.10 or newer, nothing else.

- The TLS layer verifies the chain (chain.pem). That alone admits strangers: public authorities sign for others too.
- `Trust.admits` is called at *every request*: it refuses kept and resumed connections of a leaf that left, too.
- The link is read before each handshake and each request. A new generation is loaded whole, or not at all: then the
  one before stays, and the generation in the answer says so.
- A client without a certificate, or with one that is not admitted, gets 403; one that does not verify, a TLS alert.
- Answers to this machine name the loaded generation, X-Trustsync-Generation: by it trustsync proves what is loaded. Python's
  ssl cannot advertise the names of its authorities, so the chain cannot be seen: set `marker = false` in the target.
"""

import hashlib
import http.server
import os
import re
import ssl
import sys
import threading

HASH = re.compile(r"[0-9a-f]{64}")


class Generation:
    """One generation of trust, as loaded. Anything unexpected in it is an error."""

    def __init__(self, directory):
        with open(os.path.join(directory, "fingerprints.txt"), encoding="ascii") as file:
            lines = file.read().split("\n")
        head = re.fullmatch(r"# trustsync generation (\d{6,}) store (\S+)", lines[0])
        if not head or lines.pop() != "":
            raise ValueError("fingerprints.txt is incomplete")
        self.number = head.group(1)
        self.pins, self.denied, self.names = set(), set(), set()
        for line in lines:
            fields = line.split(" ")
            if line.startswith("#"):
                continue
            if fields[0] in ("current", "upcoming", "trusted", "retiring") and len(fields) == 5:
                self.pins.add(self._hash(fields[1], "sha256:"))
            elif fields[0] == "denied" and len(fields) == 3:
                self.denied.add(self._hash(fields[1], "sha256="))
            elif fields[0] == "name" and len(fields) == 3:
                self.names.add((self._hash(fields[1], "root="), fields[2].lower()))
            else:
                raise ValueError(f"fingerprints.txt has an unknown line: {line!r}")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.verify_mode = ssl.CERT_OPTIONAL  # a client without a certificate gets a 403
        self.tls.load_verify_locations(os.path.join(directory, "chain.pem"))
        self.issuers = {}  # by leaf: whose direct signature was verified in a full handshake

    @staticmethod
    def _hash(field, prefix):
        value = field.removeprefix(prefix)
        if not field.startswith(prefix) or not HASH.fullmatch(value):
            raise ValueError(f"{field!r} is not a fingerprint")
        return value


class Trust:
    """The newest generation behind a target's link that could be loaded."""

    def __init__(self, link, certificate, key):
        self._link, self._pair, self._lock = link, (certificate, key), threading.Lock()
        self._target, self._generation = None, None
        if self.current() is None:
            raise SystemExit(f"{link}: no generation could be loaded, and no client would be admitted")

    def current(self):
        """The generation that decides, loaded anew if the link has moved."""
        try:
            target = os.readlink(self._link)
        except OSError as error:
            print(f"{self._link} cannot be read ({error}); what is loaded stays", file=sys.stderr)
            return self._generation
        if target != self._target:
            with self._lock:
                if target != self._target:
                    self._load(target)
        return self._generation

    def _load(self, target):
        directory = os.path.join(os.path.dirname(self._link), target)
        try:
            fresh = Generation(directory)
            fresh.tls.load_cert_chain(*self._pair)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            print(f"{directory} was not loaded ({error}); what is loaded stays", file=sys.stderr)
            return
        self._generation, self._target = fresh, target

    def admits(self, connection):
        """Whether the client of this connection (an ssl.SSLSocket) is admitted, by the newest generation."""
        generation, der = self.current(), connection.getpeercert(binary_form=True)
        if not der:
            return False
        leaf = hashlib.sha256(der).hexdigest()
        if leaf in generation.denied:
            return False
        if leaf in generation.pins:
            return True
        issuer = self._issuer(connection, leaf)
        if issuer is None:
            return False
        named = {name for root, name in generation.names if root == issuer}
        return "*" in named or not named.isdisjoint(_names(connection.getpeercert()))

    def _issuer(self, connection, leaf):
        """The certificate that signed the leaf directly. A resumed session does not say, but the one before it did."""
        seen = connection.generation.issuers  # of the generation by which the handshake was verified
        # Public from Python 3.13 on; before, a function of the inner object.
        chain = getattr(connection, "get_verified_chain", None) or connection._sslobj.get_verified_chain
        chain = [link if isinstance(link, bytes) else link.public_bytes(2) for link in chain() or ()]  # 2: DER
        if len(chain) > 1 and len(seen) < 10_000:
            seen[leaf] = hashlib.sha256(chain[1]).hexdigest()
        return seen.get(leaf)


def _names(certificate):
    """The names of a leaf: its dNSNames or, without any, its only commonName, if no RDN has several values."""
    names = {value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    subject = certificate["subject"]
    common = [value.lower() for rdn in subject for kind, value in rdn if kind == "commonName"]
    if not names and len(common) == 1 and all(len(rdn) == 1 for rdn in subject):
        names = set(common)
    return names


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512

    def get_request(self):
        connection, address = super().get_request()
        connection.settimeout(30)
        generation = self.trust.current()
        # The connection's own thread does the handshake: a slow client must not keep others out.
        connection = generation.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        connection.generation = generation
        return connection, address

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away, or was refused
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.request.do_handshake()
        super().setup()

    def do_GET(self):
        admitted = self.server.trust.admits(self.connection)
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True  # http.server does not read such a body
        elif admitted:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"in\n" if admitted else b"this certificate is not admitted\n"
        self.send_response(200 if admitted else 403)
        if self.client_address[0] in ("127.0.0.1", "::1"):
            self.send_header("X-Trustsync-Generation", self.server.trust.current().number)
        self.send_header("Content-Length", str(len(body)))
        if not admitted:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    listen, link, certificate, key = sys.argv[1:]
    host, port = listen.rsplit(":", 1)
    trust = Trust(link, certificate, key)
    server = Server((host, int(port)), Handler)
    server.trust = trust
    server.serve_forever()
