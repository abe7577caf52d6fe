/** Columns that several kinds share. */

import { date, text } from "../Declare.ts"

/** The medical record number of the patient that a row belongs to. */
export const patientMrn = text("patient_mrn", "patient_id", "patient.mrn", "mrn", "subject.reference").context(
  "$doc.patient.mrn"
)

/** The encounter that a row belongs to. */
export const encounterId = text("encounter_id", "encounterId", "encounter_reference", "encounter.reference").context(
  "$doc.encounter.encounter_id"
)

/** The same for kinds that stand inside an encounter. */
export const encounterIdOfParent = encounterId.context("$parent.encounter_id", "$doc.encounter.encounter_id")

export const ssn = text("ssn", "person.ssn", "identifiers.ssn")

export const givenName = text(
  "given_name",
  "first_name",
  "name.given",
  "name.given_name",
  "name.given[0]",
  "name[0].given[0]",
  "firstName",
  "person.first_name",
  "person.name.given_name",
  "demographics.first_name",
  "demographics.name.given[0]"
).as("name.given")

export const middleName = text(
  "middle_name",
  "name.middle",
  "name.middle_name",
  "name.given[1]",
  "name[0].given[1]",
  "middleName"
).as("name.middle")

export const familyName = text(
  "family_name",
  "last_name",
  "name.family",
  "name.family_name",
  "name[0].family",
  "lastName",
  "person.last_name",
  "person.name.family_name",
  "demographics.last_name",
  "demographics.name.family"
).as("name.family")

export const birthDate = date(
  "birth_date",
  "date_of_birth",
  "birthDate",
  "dob",
  "dateOfBirth",
  "person.birth_date",
  "person.date_of_birth",
  "demographics.birthDate",
  "demographics.date_of_birth",
  "demographics.dob",
  "BRTHDTC"
)

export const gender = text("gender", "sex", "person.gender", "demographics.gender", "demographics.sex", "SEX")

export const streetAddress = text(
  "street_address",
  "address_line1",
  "address.line1",
  "address.street_address",
  "address.line[0]",
  "address[0].line[0]",
  "demographics.address.line[0]",
  "demographics.address_line1",
  "address.street"
).as("address.line1")

export const city = text(
  "city",
  "address.city",
  "address[0].city",
  "demographics.address.city",
  "demographics.city"
).as("address.city")

export const state = text(
  "state",
  "address.state",
  "address[0].state",
  "demographics.address.state",
  "demographics.state"
).as("address.state")

export const postalCode = text(
  "postal_code",
  "zip_code",
  "zip",
  "address.postalCode",
  "address.postal_code",
  "address.zipCode",
  "address.zip",
  "address.zip_code",
  "address[0].postalCode",
  "demographics.address.postalCode",
  "demographics.zip_code",
  "zipCode",
  "postalCode"
).as("address.postalCode")

export const phone = text("phone", "telecom.phone", "contact.phone").as("telecom.phone")

export const email = text("email", "telecom.email", "contact.email").as("telecom.email")
