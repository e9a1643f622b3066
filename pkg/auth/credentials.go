package auth

import (
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Limits of the outside contract. Names are counted in bytes, which are characters there; passwords in Unicode code
// points.
const (
	MinUsername = 3
	MaxUsername = 32
	MinPassword = 8
	MaxPassword = 256
)

// CheckUsername tells whether name may be that of an account: [a-z0-9_]{3,32}. It fails with BadRequest.
func CheckUsername(name string) error {
	ok := MinUsername <= len(name) && len(name) <= MaxUsername
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_'
	}
	if !ok {
		return chat.Errorf(chat.BadRequest, "username is %d to %d of a-z 0-9 _", MinUsername, MaxUsername)
	}
	return nil
}

// CheckPassword tells whether password may protect an account: valid UTF-8 of 8 to 256 code points, of any kind. It
// fails with BadRequest.
func CheckPassword(password string) error {
	// A code point has at most four bytes: what is longer than that is not even looked at.
	if len(password) <= MaxPassword*utf8.UTFMax && utf8.ValidString(password) {
		if n := utf8.RuneCountInString(password); MinPassword <= n && n <= MaxPassword {
			return nil
		}
	}
	return chat.Errorf(chat.BadRequest, "password is %d to %d characters of UTF-8", MinPassword, MaxPassword)
}
