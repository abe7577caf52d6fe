/** People, providers and places that other kinds refer to. */

import { kind, text } from "../Declare.ts"
import { birthDate, city, familyName, gender, givenName, postalCode, ssn, state, streetAddress } from "./Shared.ts"

/** A person, whatever their roles. */
export const person = kind("person", {
  code: 20,
  table: "persons",
  id: { column: "person_id", paths: ["person_id", "id", "ssn"] },
  columns: {
    person_id: text("person_id", "id"),
    ssn,
    given_name: givenName,
    family_name: familyName,
    birth_date: birthDate.preferring("date_of_birth"),
    gender,
    race: text("race"),
    ethnicity: text("ethnicity"),
    street_address: streetAddress.preferring("address_line1"),
    city,
    state,
    postal_code: postalCode,
    phone: text("phone").as("telecom.phone"),
    email: text("email").as("telecom.email")
  }
})

/** A clinician or an organisation that gives care. */
export const provider = kind("provider", {
  code: 21,
  table: "providers",
  id: { column: "provider_id", paths: ["provider_id", "npi", "id"] },
  alsoKnownAs: ["attending_provider"],
  columns: {
    provider_id: text("provider_id", "id"),
    npi: text("npi")
      .describe("National provider identifier.")
      .or("identifier[system=http://hl7.org/fhir/sid/us-npi].value"),
    name: text("name").or("name[0].text", "name[0].family"),
    specialty: text("specialty").or("qualification[0].code.text"),
    provider_type: text("provider_type"),
    taxonomy_code: text("taxonomy_code", "taxonomy"),
    dea_number: text("dea_number")
  }
})

/** A place where care is given. */
export const facility = kind("facility", {
  code: 22,
  table: "facilities",
  id: { column: "facility_id", paths: ["facility_id", "npi", "id"] },
  columns: {
    facility_id: text("facility_id", "id"),
    npi: text("npi").describe("National provider identifier."),
    name: text("name"),
    facility_type: text("facility_type").or("type[0].text", "type[0].coding[0].display"),
    street_address: text("address_line1", "address.street_address").or("address.line[0]"),
    city: text("city", "address.city"),
    state: text("state", "address.state"),
    postal_code: text("postal_code", "address.postal_code").or("address.postalCode"),
    tax_id: text("tax_id")
  }
})
