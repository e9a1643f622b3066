// Package auth owns passwords and tokens: how a password becomes a hash, how an access token is signed and checked, how
// a refresh token is made and recognized. It promises that guessing is dear and bounded in memory, that only EdDSA
// signatures of known keys are believed, that nothing but digests of refresh tokens needs to be kept, and that no
// password, token or private key ever stands in an error.
package auth
