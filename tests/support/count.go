// Counts the certificates of PEM files as crypto/x509 reads them: a line for each file.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	for _, path := range os.Args[1:] {
		rest, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		count := 0
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				panic(fmt.Errorf("%s: %w", path, err))
			}
			count++
		}
		fmt.Println(count)
	}
}
