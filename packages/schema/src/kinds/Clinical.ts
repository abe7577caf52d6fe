/** The clinical kinds: patients, their encounters, and what is recorded about them. */

import { boolean, date, decimal, double, integer, json, kind, money, text, timestamp } from "../Declare.ts"
import {
  birthDate,
  city,
  email,
  encounterId,
  encounterIdOfParent,
  familyName,
  gender,
  givenName,
  middleName,
  patientMrn,
  phone,
  postalCode,
  ssn,
  state,
  streetAddress
} from "./Shared.ts"

/** A person in care. */
export const patient = kind("patient", {
  code: 1,
  table: "patients",
  id: { column: "id", paths: ["patient_id", "id", "patientId", "mrn"] },
  children: {
    current_medications: "medication",
    allergies: "allergy",
    "medical_history.conditions": "diagnosis",
    conditions: "diagnosis",
    encounters: "encounter",
    encounter: "encounter",
    diagnoses: "diagnosis",
    medications: "medication",
    vitals: "vital_sign"
  },
  columns: {
    id: text("patient_id", "id", "patientId"),
    mrn: text(
      "mrn",
      "identifiers.mrn",
      "identifier[type=MR].value",
      "person.identities.patientsim.mrn",
      "medical_record_number",
      "identifier[0].value"
    ),
    ssn,
    given_name: givenName.or("patient_first_name"),
    middle_name: middleName,
    family_name: familyName.or("patient_last_name"),
    suffix: text("suffix", "name.suffix", "name[0].suffix[0]").as("name.suffix"),
    prefix: text("prefix", "name.prefix", "name[0].prefix[0]").as("name.prefix"),
    birth_date: birthDate,
    gender,
    race: text("race", "race.display", "race.code", "demographics.race").or(
      "extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-race].extension[url=text].valueString"
    ),
    ethnicity: text("ethnicity", "ethnicity.display", "ethnicity.code", "demographics.ethnicity").or(
      "extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity].extension[url=text].valueString"
    ),
    language: text("language", "language_code", "demographics.language", "demographics.preferred_language").or(
      "communication[0].language.coding[0].code"
    ),
    street_address: streetAddress,
    street_address_2: text(
      "street_address_2",
      "address_line2",
      "address.line2",
      "address.street_address_2",
      "address[0].line[1]",
      "demographics.address_line2"
    ).as("address.line2"),
    city,
    state,
    postal_code: postalCode,
    country: text("country", "address.country", "address[0].country").as("address.country"),
    phone: phone.or("phone_home", "telecom[system=phone].value"),
    phone_mobile: text("phone_mobile", "telecom.mobile", "contact.phone_mobile", "telecom[use=mobile].value").as(
      "telecom.mobile"
    ),
    email: email.or("telecom[system=email].value"),
    deceased: boolean("deceased", "deceasedBoolean"),
    death_date: date("death_date", "deceasedDateTime", "deceased_date"),
    // Seen in documents; HealthSim has no column for them.
    person_id: text("person_id"),
    phone_work: text("contact.phone_work", "phone_work").as("telecom.work"),
    marital_status: text("marital_status").or("maritalStatus.text", "maritalStatus.coding[0].code"),
    member_id: text("member_id", "insurance.member_id")
  }
})

/** One contact with care: a visit, a stay, an appointment. */
export const encounter = kind("encounter", {
  code: 2,
  table: "encounters",
  id: { column: "encounter_id", paths: ["encounter_id", "id", "encounterId"] },
  alsoKnownAs: [
    "visit",
    "visits",
    "appointment",
    "appointments",
    "ed_encounter",
    "screening_encounter",
    "surgical_encounter",
    "surgical_consultation"
  ],
  children: {
    diagnoses: "diagnosis",
    procedures: "procedure",
    orders: "order",
    procedure: "procedure"
  },
  columns: {
    encounter_id: text("encounter_id", "id", "encounterId"),
    patient_mrn: patientMrn,
    class_code: text("class_code", "class", "patient_class", "encounter_class", "class.code").describe(
      "Class of the visit: I inpatient, O outpatient, E emergency."
    ),
    status: text("status"),
    admission_time: timestamp(
      "admission_time",
      "period.start",
      "start_datetime",
      "admission_datetime",
      "admit_datetime",
      "arrival_datetime",
      "start_time",
      "period_start",
      "encounter_date",
      "serviceDate",
      "service_date",
      "visit_date",
      "date"
    ),
    discharge_time: timestamp(
      "discharge_time",
      "period.end",
      "end_datetime",
      "discharge_datetime",
      "end_time",
      "period_end"
    ),
    facility: text(
      "facility",
      "facility.name",
      "facility_name",
      "location.facility",
      "facility_id",
      "facility_code"
    ).or("location[0].location.display", "serviceProvider.display"),
    department: text("department", "location.department", "location.point_of_care", "location_unit"),
    room: text("room", "location.room", "location_room"),
    bed: text("bed", "location.bed", "location_bed"),
    chief_complaint: text(
      "chief_complaint",
      "reasonCode",
      "reason_for_visit",
      "reason",
      "reason_description",
      "reasonCode[0].text"
    ).or("reasonCode[0].coding[0].display"),
    admitting_diagnosis: text("admitting_diagnosis", "admitting_diagnosis.code"),
    discharge_disposition: text("discharge_disposition", "discharge_disposition_code", "disposition").or(
      "hospitalization.dischargeDisposition.coding[0].code"
    ),
    attending_physician: text(
      "attending_physician",
      "attending_physician.npi",
      "attending_provider.npi",
      "attending_provider_id",
      "attending_npi",
      "provider.npi",
      "attending_physician.name",
      "attending_provider.name",
      "attending_name",
      "provider.name"
    )
      .describe("National provider identifier if the source gives one, else the name.")
      .or("participant[0].individual.display", "participant[0].individual.reference"),
    admitting_physician: text("admitting_physician", "admitting_provider.npi", "admitting_provider.name").describe(
      "National provider identifier if the source gives one, else the name."
    ),
    // Seen in documents; HealthSim has no column for them.
    encounter_type: text("encounter_type", "encounterType", "type").or(
      "type[0].text",
      "type[0].coding[0].display",
      "type[0].coding[0].code"
    ),
    patient_id: text("patient_id"),
    member_id: text("memberId", "member_id"),
    reason_for_visit: text("reason_for_visit"),
    clinical_notes: text("clinicalNotes", "notes")
  }
})

/** A condition found in a patient. */
export const diagnosis = kind("diagnosis", {
  code: 3,
  table: "diagnoses",
  id: { column: "id", paths: ["id", "diagnosis_id"] },
  alsoKnownAs: ["condition", "conditions", "discharge_diagnoses"],
  containers: ["discharge.discharge_diagnoses"],
  columns: {
    id: text("id", "diagnosis_id"),
    code: text("code", "code.coding[0].code", "icd10").describe("ICD-10 code."),
    description: text("description", "display", "code.text", "code.coding[0].display", "condition").or(
      "MHTERM",
      "MHDECOD"
    ),
    type: text("type", "diagnosis_type"),
    patient_mrn: patientMrn.or("USUBJID"),
    encounter_id: encounterIdOfParent,
    diagnosed_date: date("diagnosed_date", "onsetDateTime", "onset_date", "onset", "diagnosis_date").or(
      "onsetPeriod.start",
      "recordedDate",
      "MHSTDTC"
    ),
    resolved_date: date("resolved_date", "abatementDateTime", "abatement_date").or("abatementPeriod.end", "MHENDTC"),
    // Seen in documents; HealthSim has no column for them.
    sequence: integer("sequence", "sequence_number").or("MHSEQ"),
    code_system: text("code_system", "coding_system", "code.coding[0].system"),
    status: text("status", "clinical_status", "clinicalStatus").or("clinicalStatus.coding[0].code"),
    present_on_admission: text("present_on_admission", "poa").describe("Whether the condition was there on admission.")
  }
})

/** Something done to a patient. */
export const procedure = kind("procedure", {
  code: 4,
  table: "procedures",
  id: { column: "id", paths: ["id", "procedure_id"] },
  alsoKnownAs: ["procedures_performed"],
  containers: ["ed_treatment.procedures", "discharge.procedures_performed"],
  columns: {
    id: text("id", "procedure_id"),
    code: text("code", "code.coding[0].code", "cpt").describe("CPT, HCPCS or ICD-10-PCS code, see code_system."),
    code_system: text("code_system", "coding_system").or("code.coding[0].system"),
    description: text("description", "display", "name", "code.text").or("code.coding[0].display"),
    patient_mrn: patientMrn,
    encounter_id: encounterIdOfParent,
    performed_date: timestamp(
      "performed_date",
      "performed_datetime",
      "date",
      "performedDateTime",
      "procedure_datetime"
    ).or("performedPeriod.start", "occurrenceDateTime"),
    performer: text(
      "performer",
      "performing_provider_id",
      "performer_npi",
      "performer_name",
      "surgeon.npi",
      "operator.npi"
    ).or("performer[0].actor.display", "performer[0].actor.reference"),
    location: text("location", "body_site").or("location.display", "bodySite[0].text", "bodySite[0].coding[0].display"),
    // Seen in documents; HealthSim has no column for them.
    charge: money("charge"),
    units: decimal(10, 3)("units"),
    modifiers: json("modifiers", "modifier"),
    status: text("status")
  }
})

/** A drug that a patient takes or was given. */
export const medication = kind("medication", {
  code: 5,
  table: "medications",
  id: { column: "id", paths: ["id", "medication_id"] },
  alsoKnownAs: ["drug", "drugs", "current_medications", "discharge_medications", "medications_administered"],
  containers: ["ed_treatment.medications_administered", "discharge.discharge_medications"],
  columns: {
    id: text("id", "medication_id"),
    name: text("name", "drug_name", "medication", "medication_name", "medicationCodeableConcept.text").or(
      "medicationCodeableConcept.coding[0].display",
      "medicationReference.display",
      "CMTRT"
    ),
    code: text("code", "ndc", "rxnorm", "rxnorm_code").or("medicationCodeableConcept.coding[0].code"),
    dose: text("dose", "dosage", "strength").or("dosageInstruction[0].doseAndRate[0].doseQuantity.value", "CMDOSE"),
    route: text("route").or(
      "dosageInstruction[0].route.text",
      "dosageInstruction[0].route.coding[0].display",
      "CMROUTE"
    ),
    frequency: text("frequency").or("dosageInstruction[0].timing.code.text", "CMDOSFRQ"),
    patient_mrn: patientMrn.or("USUBJID"),
    encounter_id: encounterId,
    start_date: timestamp("start_date", "authored_on", "authoredOn").or(
      "effectiveDateTime",
      "effectivePeriod.start",
      "CMSTDTC"
    ),
    end_date: timestamp("end_date", "stop_date").or("effectivePeriod.end", "CMENDTC"),
    status: text("status"),
    prescriber: text("prescriber", "prescriber_npi", "prescriber_name", "prescriber.npi", "prescriber.name").or(
      "requester.display",
      "requester.reference"
    ),
    indication: text("indication", "indication_code").or(
      "reasonCode[0].text",
      "reasonCode[0].coding[0].code",
      "CMINDC"
    ),
    // Seen in documents; HealthSim has no column for them.
    ndc: text("ndc")
      .describe("National drug code.")
      .or("medicationCodeableConcept.coding[system=http://hl7.org/fhir/sid/ndc].code"),
    rxnorm: text("rxnorm", "rxnorm_code")
      .describe("RxNorm concept.")
      .or("medicationCodeableConcept.coding[system=http://www.nlm.nih.gov/research/umls/rxnorm].code"),
    quantity: decimal(10, 3)("quantity", "quantity_dispensed", "dispense_quantity").or(
      "dispenseRequest.quantity.value"
    ),
    days_supply: integer("days_supply").or("dispenseRequest.expectedSupplyDuration.value"),
    refills: integer("refills", "refills_authorized").or("dispenseRequest.numberOfRepeatsAllowed"),
    instructions: text("instructions", "sig", "directions").or("dosageInstruction[0].text"),
    duration: text("duration")
  }
})

/** One result of a laboratory test. */
export const labResult = kind("lab_result", {
  code: 6,
  table: "lab_results",
  id: { column: "id", paths: ["id", "lab_result_id", "lab_id"] },
  alsoKnownAs: ["lab", "labs", "test", "tests", "initial_labs"],
  containers: ["labs.initial_labs", "labs.troponin_series", "labs.results", "preoperative_workup.labs.results"],
  columns: {
    id: text("id", "lab_result_id", "lab_id"),
    test_name: text("test_name", "name", "test", "display", "code.text").or("code.coding[0].display", "LBTEST"),
    loinc_code: text("loinc_code", "code", "test_code", "code.coding[0].code").or("LBLOINC", "LBTESTCD"),
    value: text("value", "result", "valueQuantity.value", "valueString", "value_numeric")
      .describe("Text, so that the digits stay as the laboratory reported them.")
      .or(
        "valueCodeableConcept.text",
        "valueCodeableConcept.coding[0].display",
        "valueInteger",
        "valueBoolean",
        "LBORRES",
        "LBSTRESC"
      ),
    unit: text("unit", "units", "valueQuantity.unit").or("LBORRESU", "LBSTRESU"),
    reference_range: text("reference_range", "reference", "range").or("referenceRange[0].text"),
    abnormal_flag: text("abnormal_flag", "flag", "interpretation")
      .describe("H, L and the like.")
      .or("interpretation[0].coding[0].code", "interpretation[0].text", "LBNRIND"),
    patient_mrn: patientMrn.or("USUBJID"),
    encounter_id: encounterId,
    collected_time: timestamp(
      "collected_time",
      "collection_date",
      "collection_datetime",
      "collection_time",
      "collected_date",
      "effective_datetime",
      "effectiveDateTime",
      "date"
    )
      .context("$parent.collection_datetime", "$parent.collection_date")
      .or("effectivePeriod.start", "LBDTC"),
    resulted_time: timestamp("resulted_time", "result_date", "resulted_datetime", "issued"),
    performing_lab: text("performing_lab", "performing_lab.name").or("performer[0].display", "LBNAM"),
    ordering_provider: text("ordering_provider", "ordering_provider.npi", "ordering_provider.name")
  }
})

/** Vital signs, either many in one row (one column each) or one per row (`vital_type`, `value`, `unit`). */
export const vitalSign = kind("vital_sign", {
  code: 7,
  table: "vital_signs",
  id: { column: "id", paths: ["id", "vital_id", "vital_sign_id"] },
  alsoKnownAs: ["vital", "vitals", "initial_vitals"],
  columns: {
    id: text("id", "vital_id"),
    patient_mrn: patientMrn.or("USUBJID"),
    encounter_id: encounterId,
    observation_time: timestamp(
      "observation_time",
      "recorded_datetime",
      "recorded_time",
      "datetime",
      "timestamp",
      "effective_datetime"
    ).or("effectiveDateTime", "effectivePeriod.start", "VSDTC"),
    temperature: decimal(5, 2)("temperature", "temperature.value"),
    heart_rate: integer("heart_rate", "heart_rate.value", "pulse"),
    respiratory_rate: integer("respiratory_rate", "respiratory_rate.value"),
    systolic_bp: integer("systolic_bp", "blood_pressure.systolic"),
    diastolic_bp: integer("diastolic_bp", "blood_pressure.diastolic"),
    spo2: integer("spo2", "oxygen_saturation.value").describe("Oxygen saturation in percent."),
    height_cm: decimal(5, 2)("height_cm", "height.value"),
    weight_kg: decimal(6, 2)("weight_kg", "weight.value"),
    // Seen in documents; HealthSim has no column for them.
    vital_type: text("vital_type", "type", "name")
      .describe("What was measured, where one row is one measurement.")
      .or("code.text", "code.coding[0].display", "VSTEST", "VSTESTCD"),
    loinc_code: text("loinc_code", "code").or("code.coding[0].code"),
    value: text("value")
      .describe("The measurement, where one row is one measurement.")
      .or("valueQuantity.value", "valueString", "VSORRES", "VSSTRESC"),
    unit: text("unit", "units").or("valueQuantity.unit", "VSORRESU", "VSSTRESU"),
    position: text("position").or("VSPOS"),
    method: text("method"),
    device: text("device"),
    bmi: double("bmi", "bmi.value"),
    pain_score: integer("pain_score.value")
  }
})

/** A note in prose. */
export const clinicalNote = kind("clinical_note", {
  code: 8,
  table: "clinical_notes",
  id: { column: "id", paths: ["id", "note_id"] },
  alsoKnownAs: ["note", "notes"],
  columns: {
    id: text("id", "note_id"),
    patient_mrn: patientMrn,
    encounter_id: encounterId,
    note_type: text("note_type", "type"),
    note_datetime: timestamp("note_datetime", "note_time", "date"),
    author: text("author"),
    content: text("content", "text"),
    // Seen in documents; HealthSim has no column for them.
    service: text("service")
  }
})

/** An order for a test, a drug or a service. */
export const order = kind("order", {
  code: 9,
  table: "orders",
  id: { column: "order_id", paths: ["order_id", "id"] },
  columns: {
    order_id: text("order_id", "id"),
    patient_mrn: patientMrn,
    encounter_id: encounterId,
    order_type: text("order_type", "type"),
    code: text("code", "medication.ndc", "medication.rxnorm").or("code.coding[0].code"),
    code_system: text("code_system").or("code.coding[0].system"),
    description: text("description", "name", "order", "medication.name").or("code.text", "code.coding[0].display"),
    priority: text("priority"),
    status: text("status"),
    ordered_datetime: timestamp("ordered_datetime").or("authoredOn"),
    scheduled_datetime: timestamp("scheduled_datetime").or("occurrenceDateTime"),
    collected_datetime: timestamp("collected_datetime"),
    resulted_datetime: timestamp("resulted_datetime", "completed_datetime"),
    ordering_provider_npi: text("ordering_provider_npi", "ordering_provider.npi", "prescriber_npi"),
    ordering_provider_name: text("ordering_provider_name", "ordering_provider.name", "prescriber_name").or(
      "requester.display"
    ),
    clinical_indication: text("clinical_indication", "indication").or("reasonCode[0].text"),
    specimen_type: text("specimen_type"),
    // Seen in documents; HealthSim has no column for them.
    diagnosis_codes: json("diagnosis_codes"),
    performing_lab: text("performing_lab.name")
  }
})

/** An allergy of a patient. */
export const allergy = kind("allergy", {
  code: 23,
  table: "allergies",
  id: { column: "id", paths: ["id", "allergy_id"] },
  columns: {
    id: text("id", "allergy_id"),
    patient_mrn: patientMrn.or("patient.reference"),
    allergen: text("allergen", "substance").or("code.text", "code.coding[0].display"),
    reaction: text("reaction").or(
      "reaction[0].manifestation[0].text",
      "reaction[0].manifestation[0].coding[0].display"
    ),
    severity: text("severity").or("reaction[0].severity", "criticality")
  }
})
