/** The kinds of a health plan: members, claims, authorizations, accumulators. */

import { date, decimal, integer, json, kind, money, text } from "../Declare.ts"
import {
  birthDate,
  city,
  email,
  familyName,
  gender,
  givenName,
  middleName,
  phone,
  postalCode,
  ssn,
  state,
  streetAddress
} from "./Shared.ts"

/** X12 codes of the relationship to the subscriber. */
const relationships = {
  self: "18",
  subscriber: "18",
  spouse: "01",
  child: "19",
  dependent: "19",
  parent: "32",
  grandparent: "04",
  grandchild: "05",
  nephew_niece: "07",
  foster_child: "10",
  ward: "15",
  stepchild: "17",
  employee: "20",
  other: "21",
  life_partner: "53",
  domestic_partner: "53"
}

/** A person covered by a health plan. */
export const member = kind("member", {
  code: 10,
  table: "members",
  id: { column: "id", paths: ["member_id", "id", "memberId"] },
  alsoKnownAs: [
    "enrollment",
    "enrollments",
    "subscriber",
    "subscribers",
    "dependent",
    "dependents",
    "coverage",
    "coverages"
  ],
  // Elsewhere `coverage` and `enrollment` are often blocks of flags.
  requires: [{ typeKeys: ["coverage", "coverages", "enrollment", "enrollments"], oneOf: ["member_id", "memberId"] }],
  columns: {
    id: text("id", "member_id", "memberId"),
    member_id: text("member_id", "id", "memberId"),
    subscriber_id: text("subscriber_id", "subscriberId", "patient_id"),
    relationship_code: text("relationship_code", "relationshipCode", "relationship", "relationship_to_subscriber")
      .decode(relationships)
      .describe("Relationship to the subscriber as an X12 code; 18 is the subscriber."),
    ssn,
    given_name: givenName,
    middle_name: middleName,
    family_name: familyName,
    birth_date: birthDate,
    gender,
    street_address: streetAddress,
    city,
    state,
    postal_code: postalCode,
    phone,
    email,
    group_id: text("group_id", "group_number", "contract_id", "employer_name", "groupNumber", "group.group_id").context(
      "$doc.healthPlan.groupNumber",
      "$doc.group.group_id"
    ),
    plan_code: text(
      "plan_code",
      "plan_id",
      "pbp_id",
      "plan.plan_code",
      "plan.plan_id",
      "enrollment.plan.plan_id",
      "coverage.plan_code",
      "planId"
    ).context("$doc.healthPlan.planId"),
    coverage_start: date(
      "coverage_start",
      "enrollment_start_date",
      "effective_date",
      "start_date",
      "coverage_effective_date",
      "coverage.coverage_start",
      "coverage.effective_date",
      "enrollment.effective_date",
      "effectiveDate"
    ).context("$doc.enrollmentTransaction.effectiveDate"),
    coverage_end: date(
      "coverage_end",
      "enrollment_end_date",
      "termination_date",
      "end_date",
      "coverage_termination_date",
      "term_date"
    ),
    pcp_npi: text("pcp_npi", "primaryCareProvider.npi").describe(
      "National provider identifier of the primary care provider."
    ),
    // Seen in documents; HealthSim has no column for them.
    person_id: text("person_id"),
    plan_name: text("plan_name", "plan.plan_name"),
    plan_type: text("plan_type", "plan.plan_type"),
    payer_name: text("payer_name"),
    coverage_status: text("coverage_status")
  }
})

/** A medical claim. */
export const claim = kind("claim", {
  code: 11,
  table: "claims",
  id: { column: "claim_id", paths: ["claim_id", "id", "claimId"] },
  alsoKnownAs: ["professional_claim", "facility_claim", "institutional_claim", "follow_up_claim"],
  children: {
    claim_lines: "claim_line",
    service_lines: "claim_line",
    serviceLines: "claim_line",
    lines: "claim_line",
    revenue_lines: "claim_line"
  },
  columns: {
    claim_id: text("claim_id", "id", "claimId").or("identifier[0].value"),
    claim_type: text("claim_type", "claimType", "type")
      .describe("Professional, institutional and the like.")
      .or("type.coding[0].code", "type.text"),
    member_id: text("member_id", "memberId", "patient.member_id", "member.member_id").context("$doc.member.member_id"),
    subscriber_id: text("subscriber_id", "member.subscriber_id"),
    provider_npi: text(
      "provider_npi",
      "provider.npi",
      "rendering_provider_npi",
      "providers.rendering.npi",
      "attending_provider.npi",
      "attending_npi",
      "billing_provider_npi",
      "providers.billing.npi"
    ).or("provider.identifier.value"),
    facility_npi: text("facility_npi", "facility.npi"),
    service_date: date(
      "service_date",
      "serviceDate",
      "service_from_date",
      "dates.service_from",
      "service_dates.admission"
    ).or("billablePeriod.start"),
    admission_date: date("admission_date", "admit_date", "service_dates.admission"),
    discharge_date: date("discharge_date", "service_dates.discharge"),
    place_of_service: text(
      "place_of_service",
      "place_of_service_code",
      "facility.place_of_service",
      "providers.service_location.place_of_service"
    ),
    principal_diagnosis: text(
      "principal_diagnosis",
      "diagnoses[type=principal].code",
      "diagnoses[type=Principal].code",
      "diagnosis_codes[type=Principal].code",
      "diagnoses[0].code",
      "diagnosis_codes[0].code",
      "diagnosis_codes[0]"
    ).or("diagnosis[0].diagnosisCodeableConcept.coding[0].code"),
    other_diagnoses: json("other_diagnoses", "secondary_diagnoses"),
    authorization_number: text("authorization_number", "auth_number", "prior_auth_number", "prior_auth.auth_number").or(
      "insurance[0].preAuthRef[0]"
    ),
    total_charge: money(
      "total_charge",
      "total_charges",
      "totals.total_charges",
      "total_billed",
      "totals.chargedAmount",
      "totals.billed",
      "amounts.billed",
      "charge_amount"
    ).or("total.value"),
    total_allowed: money(
      "total_allowed",
      "totals.allowedAmount",
      "adjudication.allowed_amount",
      "totals.allowed",
      "amounts.allowed",
      "allowed_amount"
    ),
    total_paid: money(
      "total_paid",
      "totals.planPaid",
      "adjudication.paid_amount",
      "totals.paid",
      "totals.plan_paid",
      "amounts.paid",
      "paid_amount"
    ),
    member_responsibility: money(
      "member_responsibility",
      "patient_responsibility",
      "total_patient_resp",
      "totals.memberResponsibility",
      "adjudication.patient_responsibility",
      "totals.member_responsibility",
      "amounts.patient_responsibility"
    ),
    // Seen in documents; HealthSim has no column for them.
    status: text("status", "claim_status", "adjudication.status"),
    encounter_id: text("encounter_id", "encounterId", "encounter_reference").or("item[0].encounter[0].reference"),
    received_date: date("receivedDate", "dates.received"),
    processed_date: date("processedDate", "dates.processed", "adjudicated_date"),
    drg_code: text("drg.code", "drg_code", "drg.ms_drg").describe("Diagnosis related group."),
    diagnoses: json("diagnoses", "diagnosis_codes"),
    adjudication: json("adjudication", "totals")
  }
})

/** One line of a claim; institutional lines may have no procedure code. */
export const claimLine = kind("claim_line", {
  code: 12,
  table: "claim_lines",
  id: { column: "id", paths: ["id", "claim_line_id", "claim_id+line_number"] },
  alsoKnownAs: ["service_lines", "lines", "revenue_lines"],
  columns: {
    id: text("id", "claim_line_id"),
    claim_id: text("claim_id", "claimId").context("$parent.claim_id", "$parent.claimId", "$doc.claim.claim_id"),
    line_number: integer("line_number", "lineNumber", "line"),
    procedure_code: text("procedure_code", "cpt_code", "cpt", "hcpcs", "hcpcs_code"),
    procedure_modifiers: json("procedure_modifiers", "modifiers", "modifier", "procedure_modifier"),
    service_date: date("service_date", "serviceDate").context(
      "$parent.service_date",
      "$parent.serviceDate",
      "$parent.service_dates.admission"
    ),
    units: decimal(6, 2)("units", "quantity"),
    charge_amount: money("charge_amount", "charge", "billed_amount", "chargedAmount", "charges.billed"),
    allowed_amount: money("allowed_amount", "allowedAmount", "charges.allowed"),
    paid_amount: money("paid_amount", "planPaid", "charges.paid"),
    diagnosis_pointers: json("diagnosis_pointers", "diagnosis_pointer").describe(
      "Which of the claim's diagnoses the line refers to, as the source wrote it."
    ),
    revenue_code: text("revenue_code"),
    ndc_code: text("ndc_code", "ndc"),
    place_of_service: text("place_of_service", "placeOfService"),
    // Seen in documents; HealthSim has no column for them.
    description: text("description", "procedure_description"),
    member_responsibility: money("memberResponsibility", "patient_responsibility"),
    deductible_applied: money("deductibleApplied", "deductible_applied", "deductible", "charges.deductible"),
    copay: money("copayAmount", "copay_applied", "copay", "charges.copay"),
    coinsurance: money("coinsuranceAmount", "coinsurance_applied", "coinsurance", "charges.coinsurance"),
    remark_code: text("remarkCode")
  }
})

/** A request to the payer for consent, and its decision. */
export const authorization = kind("authorization", {
  code: 24,
  table: "authorizations",
  id: { column: "auth_number", paths: ["auth_number", "authorization_id", "auth_id", "pa_id", "id"] },
  alsoKnownAs: ["prior_auth", "prior_auths", "prior_authorization"],
  columns: {
    auth_number: text("auth_number", "authorization_id", "pa_id", "auth_id", "id"),
    member_id: text("member_id"),
    provider_npi: text("provider_npi", "prescriber_npi"),
    service_type: text("service_type"),
    procedure_codes: json("procedure_codes"),
    diagnosis_codes: json("diagnosis_codes"),
    request_date: date("request_date"),
    decision_date: date("decision_date"),
    status: text("status"),
    approved_units: integer("approved_units"),
    effective_start: date("effective_start", "effective_date"),
    effective_end: date("effective_end", "expiration_date", "approved_through"),
    denial_reason: text("denial_reason"),
    denial_code: text("denial_code"),
    review_type: text("review_type"),
    urgency: text("urgency")
  }
})

/** What has been applied toward a limit of the plan. */
export const accumulator = kind("accumulator", {
  code: 25,
  table: "accumulators",
  id: { column: "id", paths: ["id", "accumulator_id"] },
  columns: {
    id: text("id", "accumulator_id"),
    member_id: text("member_id", "memberId"),
    plan_code: text("plan_code"),
    plan_year: integer("plan_year", "planYear"),
    accumulator_type: text("accumulator_type"),
    individual_applied: money("individual_applied"),
    individual_limit: money("individual_limit"),
    family_applied: money("family_applied"),
    family_limit: money("family_limit"),
    as_of_date: date("as_of_date", "asOfDate")
  }
})
