// An HTTPS service in Go that admits Genesys Cloud's client certificates by the files of trustsync.
//
//	service ADDRESS:PORT LINK CERTIFICATE KEY       LINK: /var/lib/trustsync/target/NAME
//
// Copy Trust and what calls it; the rest is a small server to show where. Go 1.21 or newer, nothing else.
//
//   - The TLS layer verifies the chain (trust-bundle.pem). That alone admits strangers: public authorities sign for others
//     too.
//   - Trust.Admits is called at *every request*: it refuses kept and resumed connections of a leaf that left, too.
//   - The link is read before each handshake and each request. A new generation is loaded whole, or not at all: then the
//     one before stays, and the generation in the answer says so.
//   - A client without a certificate, or with one that is not admitted, gets 403; one that does not verify, a TLS alert.
//   - Answers to this machine name the loaded generation, X-Trustsync-Generation: by it trustsync proves what is loaded.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type hash = [sha256.Size]byte

// Generation is one generation of trust, as loaded. Anything unexpected in it is an error.
type Generation struct {
	Number string
	target string
	pins   map[hash]bool
	denied map[hash]bool
	names  []nameRule
	tls    *tls.Config
}

type nameRule struct {
	root *x509.Certificate
	name string
}

var head = regexp.MustCompile(`^# trustsync generation (\d{6,}) store (\S+)$`)

func load(link, target string, pair tls.Certificate) (*Generation, error) {
	directory := filepath.Join(filepath.Dir(link), target)
	text, err := os.ReadFile(filepath.Join(directory, "fingerprints.txt"))
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(filepath.Join(directory, "trust-bundle.pem"))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	found := head.FindStringSubmatch(lines[0])
	if found == nil || lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("fingerprints.txt is incomplete")
	}
	roots := map[hash]*x509.Certificate{}
	pool := x509.NewCertPool()
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("trust-bundle.pem: %w", err)
		}
		roots[sha256.Sum256(certificate.Raw)] = certificate
		pool.AddCert(certificate)
	}
	generation := &Generation{Number: found[1], target: target, pins: map[hash]bool{}, denied: map[hash]bool{}}
	for _, line := range lines[:len(lines)-1] {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, " ")
		switch kind := fields[0]; {
		case len(fields) == 5 && (kind == "current" || kind == "upcoming" || kind == "trusted" || kind == "retiring"):
			err = into(generation.pins, fields[1], "sha256:")
		case len(fields) == 3 && kind == "denied":
			err = into(generation.denied, fields[1], "sha256=")
		case len(fields) == 3 && kind == "name":
			var root hash
			if root, err = parse(fields[1], "root="); err == nil && roots[root] == nil {
				err = fmt.Errorf("the root %x is not in trust-bundle.pem", root)
			}
			generation.names = append(generation.names, nameRule{roots[root], strings.ToLower(fields[2])})
		default:
			err = fmt.Errorf("fingerprints.txt has an unknown line: %q", line)
		}
		if err != nil {
			return nil, err
		}
	}
	generation.tls = &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		// A client without a certificate gets a 403.
		ClientAuth: tls.VerifyClientCertIfGiven,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
	}
	return generation, nil
}

func into(set map[hash]bool, field, prefix string) error {
	value, err := parse(field, prefix)
	set[value] = true
	return err
}

func parse(field, prefix string) (value hash, err error) {
	digits, ok := strings.CutPrefix(field, prefix)
	bytes, err := hex.DecodeString(digits)
	if !ok || err != nil || len(bytes) != len(value) {
		return value, fmt.Errorf("%q is not a fingerprint", field)
	}
	return hash(bytes), nil
}

// Trust is the newest generation behind a target's link that could be loaded.
type Trust struct {
	link   string
	pair   tls.Certificate
	lock   sync.Mutex
	loaded atomic.Pointer[Generation]
}

// Current is the generation that decides, loaded anew if the link has moved.
func (trust *Trust) Current() *Generation {
	known := trust.loaded.Load()
	target, err := os.Readlink(trust.link)
	if err != nil {
		log.Printf("%v; what is loaded stays", err)
		return known
	}
	if known != nil && known.target == target {
		return known
	}
	trust.lock.Lock()
	defer trust.lock.Unlock()
	if known = trust.loaded.Load(); known != nil && known.target == target {
		return known
	}
	fresh, err := load(trust.link, target, trust.pair)
	if err != nil {
		log.Printf("%s was not loaded (%v); what is loaded stays", target, err)
		return known
	}
	trust.loaded.Store(fresh)
	return fresh
}

// Admits says whether the client of this connection is admitted, by the newest generation.
func (trust *Trust) Admits(connection *tls.ConnectionState) bool {
	if connection == nil || len(connection.VerifiedChains) == 0 {
		return false
	}
	generation, leaf := trust.Current(), connection.PeerCertificates[0]
	fingerprint := sha256.Sum256(leaf.Raw)
	if generation.denied[fingerprint] {
		return false
	}
	if generation.pins[fingerprint] {
		return true
	}
	for _, rule := range generation.names {
		if (rule.name == "*" || hasName(leaf, rule.name)) && leaf.CheckSignatureFrom(rule.root) == nil {
			return true
		}
	}
	return false
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// Whether the leaf has the name: among its dNSNames or, without any, as its only commonName, if no RDN has several values.
func hasName(leaf *x509.Certificate, name string) bool {
	for _, each := range leaf.DNSNames {
		if strings.ToLower(each) == name {
			return true
		}
	}
	var subject pkix.RDNSequence
	if rest, err := asn1.Unmarshal(leaf.RawSubject, &subject); len(leaf.DNSNames) > 0 || err != nil || len(rest) > 0 {
		return false
	}
	found := []string{}
	for _, rdn := range subject {
		if len(rdn) != 1 {
			return false
		}
		if rdn[0].Type.Equal(commonName) {
			value, _ := rdn[0].Value.(string)
			found = append(found, value)
		}
	}
	return len(found) == 1 && strings.ToLower(found[0]) == name
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 5 {
		log.Fatal("service ADDRESS:PORT LINK CERTIFICATE KEY")
	}
	pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	trust := &Trust{link: os.Args[2], pair: pair}
	if trust.Current() == nil {
		log.Fatalf("%s: no generation could be loaded, and no client would be admitted", os.Args[2])
	}
	answer := func(response http.ResponseWriter, request *http.Request) {
		if host, _, _ := net.SplitHostPort(request.RemoteAddr); net.ParseIP(host).IsLoopback() {
			response.Header().Set("X-Trustsync-Generation", trust.Current().Number)
		}
		if !trust.Admits(request.TLS) {
			response.Header().Set("Connection", "close")
			http.Error(response, "this certificate is not admitted", http.StatusForbidden)
			return
		}
		fmt.Fprintln(response, "in")
	}
	server := &http.Server{
		Addr:              os.Args[1],
		Handler:           http.HandlerFunc(answer),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(discard{}, "", 0), // a line for each client that was refused
		TLSConfig: &tls.Config{
			Certificates:       []tls.Certificate{pair},
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return trust.Current().tls, nil },
		},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

type discard struct{}

func (discard) Write(bytes []byte) (int, error) { return len(bytes), nil }
