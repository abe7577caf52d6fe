/**
 * Encryption of backups in the age format (age-encryption.org/v1). With a passphrase the store gets an identity of its own,
 * which alone is locked with it (`identity.age`), so that a passphrase costs its second once and not per file.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { BackupError } from "../BackupError.ts"
import { writeIfNone } from "./atomic.ts"

/** With what to encrypt, or to open what is encrypted. */
export interface CipherSettings {
  readonly passphrase?: string | undefined
  /** `age1…` */
  readonly recipients?: ReadonlyArray<string> | undefined
  /** `AGE-SECRET-KEY-1…` */
  readonly identities?: ReadonlyArray<string> | undefined
}

export interface Cipher {
  /** The recipients, one per line. */
  readonly key: string
  readonly encrypt: (bytes: Uint8Array) => Promise<Uint8Array>
  readonly decrypt: (bytes: Uint8Array) => Promise<Uint8Array>
}

/** Whether all are recipients of age. */
export const areRecipients = async (recipients: ReadonlyArray<string>): Promise<boolean> => {
  const { Encrypter } = await import("age-encryption")
  const encrypter = new Encrypter()
  try {
    for (const recipient of recipients) encrypter.addRecipient(recipient)
    return true
  } catch {
    return false
  }
}

const identityPath = (store: string): string => join(store, "identity.age")

/** Whether a store has a key of its own, which a passphrase opens. */
export const hasIdentity = (store: string): boolean => existsSync(identityPath(store))

/** What encrypts new contents, and opens them for the proof. Makes the store's own identity at the first passphrase. */
export const encrypterOf = async (store: string, settings: CipherSettings): Promise<Cipher> => {
  const age = await import("age-encryption")
  const recipients = [...(settings.recipients ?? [])]
  const identities = [...(settings.identities ?? [])]
  if (settings.passphrase !== undefined) {
    if (!hasIdentity(store)) {
      const lock = new age.Encrypter()
      lock.setPassphrase(settings.passphrase)
      // Where another run was quicker, its identity is the store's: contents may be locked with it already.
      writeIfNone(identityPath(store), await lock.encrypt(await age.generateX25519Identity()))
    }
    const identity = await unlock(store, settings.passphrase)
    identities.push(identity)
    recipients.push(await age.identityToRecipient(identity))
  }
  if (recipients.length === 0) throw new BackupError({ reason: "needs-key", store })
  const key = recipients.toSorted().join("\n")
  // The proof needs a key too: this one is forgotten with the process.
  const own = await age.generateX25519Identity()
  const encrypter = new age.Encrypter()
  try {
    for (const recipient of recipients) encrypter.addRecipient(recipient)
  } catch (cause) {
    throw new BackupError({ reason: "bad-key", store, cause })
  }
  encrypter.addRecipient(await age.identityToRecipient(own))
  const decrypt = await decrypter([own, ...identities], store)
  return { key, encrypt: (bytes) => encrypter.encrypt(bytes), decrypt }
}

/** What opens contents. */
export const decrypterOf = async (store: string, settings: CipherSettings | undefined): Promise<Cipher> => {
  const identities = [...(settings?.identities ?? [])]
  if (settings?.passphrase !== undefined) identities.push(await unlock(store, settings.passphrase))
  if (identities.length === 0) throw new BackupError({ reason: "needs-key", store })
  const decrypt = await decrypter(identities, store)
  return {
    key: "",
    encrypt: () => Promise.reject(new BackupError({ reason: "needs-key", store })),
    decrypt
  }
}

const decrypter = async (identities: ReadonlyArray<string>, store: string) => {
  const age = await import("age-encryption")
  const decrypter = new age.Decrypter()
  try {
    for (const identity of identities) decrypter.addIdentity(identity)
  } catch (cause) {
    throw new BackupError({ reason: "bad-key", store, cause })
  }
  return async (bytes: Uint8Array): Promise<Uint8Array> => {
    try {
      return await decrypter.decrypt(bytes)
    } catch (cause) {
      // Only the lack of a fitting key is told apart; what is damaged inside is for the reader of the content to say.
      if (cause instanceof Error && /no identity matched/i.test(cause.message)) {
        throw new BackupError({ reason: "wrong-key", store, cause })
      }
      throw cause
    }
  }
}

const unlock = async (store: string, passphrase: string): Promise<string> => {
  if (!hasIdentity(store)) throw new BackupError({ reason: "wrong-key", store })
  const age = await import("age-encryption")
  const lock = new age.Decrypter()
  lock.addPassphrase(passphrase)
  try {
    return await lock.decrypt(readFileSync(identityPath(store)), "text")
  } catch (cause) {
    throw new BackupError({ reason: "wrong-key", store, cause })
  }
}
