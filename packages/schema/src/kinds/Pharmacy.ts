/** The kinds of a pharmacy benefit. */

import { date, decimal, integer, json, kind, money, text } from "../Declare.ts"
import { birthDate, city, familyName, gender, givenName, postalCode, state, streetAddress } from "./Shared.ts"

/** A prescription. */
export const prescription = kind("prescription", {
  code: 13,
  table: "prescriptions",
  id: { column: "prescription_number", paths: ["prescription_number", "prescription_id", "rx_number", "id"] },
  alsoKnownAs: ["rx", "rxs"],
  columns: {
    prescription_number: text("prescription_number", "prescription_id", "rx_number", "id"),
    patient_mrn: text("patient_mrn", "patient_id").context("$doc.patient.mrn"),
    member_id: text("member_id", "rx_member_id").context("$doc.member.member_id"),
    ndc: text("ndc", "drug_ndc"),
    drug_name: text("drug_name"),
    quantity_prescribed: decimal(10, 2)("quantity_prescribed", "quantity"),
    days_supply: integer("days_supply"),
    refills_authorized: integer("refills_authorized", "refills"),
    refills_remaining: integer("refills_remaining"),
    prescriber_npi: text("prescriber_npi", "prescriber.npi"),
    prescriber_name: text("prescriber_name", "prescriber.name"),
    prescriber_dea: text("prescriber_dea", "prescriber.dea"),
    written_date: date("written_date", "date_written"),
    expiration_date: date("expiration_date"),
    daw_code: text("daw_code", "daw").describe("Dispense as written."),
    directions: text("directions", "sig", "instructions"),
    // Seen in documents; HealthSim has no column for them.
    status: text("status"),
    diagnosis_codes: json("diagnosis_codes", "diagnosis"),
    fill_date: date("fill_date"),
    pharmacy_npi: text("pharmacy_npi")
  }
})

/** A claim of a pharmacy. */
export const pharmacyClaim = kind("pharmacy_claim", {
  code: 14,
  table: "pharmacy_claims",
  id: { column: "claim_id", paths: ["claim_id", "pharmacy_claim_id", "id"] },
  alsoKnownAs: ["rx_claim", "rx_claims", "fill", "fills", "refill", "refills"],
  columns: {
    claim_id: text("claim_id", "pharmacy_claim_id", "id", "claim_summary.claim_id"),
    transaction_code: text("transaction_code", "transaction_type", "transaction_header.transaction_code").describe(
      "NCPDP transaction, as in B1."
    ),
    service_date: date(
      "service_date",
      "fill_date",
      "dates.date_of_service",
      "claim_summary.service_date",
      "transaction_header.date_of_service"
    ),
    pharmacy_npi: text(
      "pharmacy_npi",
      "pharmacy.npi",
      "pharmacy_info.pharmacy_npi",
      "transaction_header.service_provider_id"
    ),
    pharmacy_ncpdp: text(
      "pharmacy_ncpdp",
      "pharmacy.ncpdp",
      "pharmacy.ncpdp_id",
      "pharmacy_info.pharmacy_ncpdp"
    ).describe("NCPDP number of the pharmacy."),
    member_id: text("member_id", "patient.member_id", "member.member_id", "patient_segment.patient_id").context(
      "$doc.member.member_id"
    ),
    cardholder_id: text("cardholder_id", "member.cardholder_id", "insurance_segment.cardholder_id"),
    person_code: text("person_code", "member.person_code", "insurance_segment.person_code"),
    bin: text("bin", "transaction_header.bin").describe("Bank identification number of the processor."),
    pcn: text("pcn", "transaction_header.pcn").describe("Processor control number."),
    group_number: text("group_number", "group_id", "member.group_id", "insurance_segment.group_id"),
    prescription_number: text(
      "prescription_number",
      "rx_number",
      "prescription_reference_number",
      "claim_segment.rx_service_reference_number"
    ),
    fill_number: integer("fill_number", "claim_segment.fill_number"),
    ndc: text("ndc", "medication.ndc", "product_service_id", "claim_segment.product_service_id"),
    quantity_dispensed: decimal(10, 2)(
      "quantity_dispensed",
      "quantity",
      "medication.quantity",
      "claim_segment.quantity_dispensed"
    ),
    days_supply: integer("days_supply", "medication.days_supply", "claim_segment.days_supply"),
    daw_code: text("daw_code", "medication.daw_code", "claim_segment.daw_code").describe("Dispense as written."),
    prescriber_npi: text("prescriber_npi", "prescriber.npi", "prescriber_segment.prescriber_id"),
    ingredient_cost_submitted: money(
      "ingredient_cost_submitted",
      "pricing.ingredient_cost",
      "ingredient_cost",
      "claim_summary.charges.ingredient_cost"
    ),
    dispensing_fee_submitted: money(
      "dispensing_fee_submitted",
      "pricing.dispensing_fee",
      "dispensing_fee",
      "claim_summary.charges.dispensing_fee"
    ),
    usual_customary_charge: money(
      "usual_customary_charge",
      "pricing.usual_and_customary",
      "pricing.u_and_c",
      "claim_summary.charges.usual_and_customary"
    ),
    gross_amount_due: money("gross_amount_due", "pricing.gross_amount_due", "claim_summary.charges.gross_amount_due"),
    patient_pay_amount: money(
      "patient_pay_amount",
      "adjudication.patient_pay",
      "response.patient_pay",
      "pricing.patient_pay.total",
      "patient_pay",
      "claim_summary.adjudication.patient_pay"
    ),
    // Seen in documents; HealthSim has no column for them.
    drug_name: text("drug_name", "medication.name", "drug_info.drug_name"),
    compound_code: text("compound_code", "medication.compound_code"),
    prior_auth_number: text("prior_auth_number"),
    plan_paid_amount: money("adjudication.plan_paid", "response.plan_paid", "pricing.plan_pay"),
    status: text("adjudication.status", "claim_status")
  }
})

/** A person covered by a pharmacy benefit. */
export const rxMember = kind("rx_member", {
  code: 19,
  table: "rx_members",
  id: { column: "member_id", paths: ["rx_member_id", "member_id", "id"] },
  columns: {
    member_id: text("member_id", "rx_member_id", "id"),
    cardholder_id: text("cardholder_id"),
    person_code: text("person_code"),
    bin: text("bin", "rx_bin", "rxBin").describe("Bank identification number of the processor."),
    pcn: text("pcn", "rx_pcn", "rxPcn").describe("Processor control number."),
    group_number: text("group_number", "rx_group", "rxGroup"),
    given_name: givenName.preferring("demographics.first_name"),
    family_name: familyName.preferring("demographics.last_name"),
    birth_date: birthDate.preferring("demographics.date_of_birth"),
    gender: gender.preferring("demographics.gender"),
    street_address: streetAddress,
    city,
    state,
    postal_code: postalCode,
    phone: text("demographics.phone", "phone").as("telecom.phone"),
    effective_date: date("effective_date", "coverage_start"),
    termination_date: date("termination_date", "coverage_end"),
    plan_code: text("plan_code", "rx_plan_code"),
    formulary_id: text("formulary_id"),
    accumulators: json("accumulators")
  }
})
