"""The literal examples of AKOOL's pages, and replies in the form that was seen in October 2026."""

CREATE_BY_BUTTON_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": [],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "6508292f16e5ba407d47d21b",
        "image_content_model_id": "6508288416e5ba407d47d13f",
        "create_time": 1695033647012,
        "op_button": "U2",
        "op_buttonMessageId": "kwZsk6elltno5Nt37VLj",
        "image_status": 1,
        "from": 1,
    },
}

GET_IMAGE_RESULT_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": ["U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4"],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "662a10df4197b3af58532e89",
        "create_time": 1714032863272,
        "uid": 378337,
        "type": 3,
        "image_status": 3,
        "image": "https://example.invalid/1714032892336-e0ec9305-e217-4b79-8704-e595a822c12b-8013.png",
    },
}

CREATE_BY_PROMPT_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": [],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "64dd82eef0b6684651e90131",
        "uid": 378337,
        "create_time": 1692238574633,
        "origin_prompt": "***",
        "source_image": "https://example.invalid/a.png",
        "prompt": "***",
        "type": 4,
        "from": 1,
        "image_status": 1,
    },
}

JPEG_RESULT_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": ["U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4"],
        "used_buttons": [],
        "upscaled_urls": [
            "https://example.invalid/1791622838120-5b1f0c2e-93aa-4c57-8f0e-2f6f1d0c9b11-8011.jpeg",
            "https://example.invalid/1791622838131-5b1f0c2e-93aa-4c57-8f0e-2f6f1d0c9b12-8012.jpeg",
            "https://example.invalid/1791622838144-5b1f0c2e-93aa-4c57-8f0e-2f6f1d0c9b13-8013.jpeg",
            "https://example.invalid/1791622838152-5b1f0c2e-93aa-4c57-8f0e-2f6f1d0c9b14-8014.jpeg",
        ],
        "_id": "6ac9fe938f1b2c3d4e5f6a7b",
        "create_time": 1791622803120,
        "uid": 378337,
        "type": 3,
        "from": 1,
        "prompt": "a lighthouse in a storm",
        "origin_prompt": "a lighthouse in a storm",
        "scale": "3:4",
        "image_status": 3,
        "image": "https://example.invalid/1791622838160-5b1f0c2e-93aa-4c57-8f0e-2f6f1d0c9b10-8010.jpeg",
    },
}
"""Its first picture was stored 35 s after it was created, its grid 40 ms later."""

SOURCE_PROMPT_REPLY = {
    "code": 1000,
    "msg": "OK",
    "data": {
        "faceswap_quality": 2,
        "deduction_credit": 4,
        "buttons": [],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": "6ac9fe318f1b2c3d4e5f6a7c",
        "uid": 378337,
        "create_time": 1791622705000,
        "origin_prompt": "a lighthouse in a storm",
        "prompt": "a lighthouse in a storm",
        "scale": "3:4",
        "type": 3,
        "from": 1,
        "task_id": "c0a8f1e29d5b4f0e8c7d6b5a4f3e2d1c",
        "model_name": "wavespeed-ai/flux-krea-dev-lora",
        "image_status": 1,
    },
}
"""Create By Source Prompt ("4k"), accepted."""

DURATIONS_OF_2026 = {
    "1714032892336-e0ec9305-e217-4b79-8704-e595a822c12b-8013.png": (1714032863272, 29.064),
    "1791622838160-5b1f0c2e-93aa-4c57-8f0e-2f6f1d0c9b10-8010.jpeg": (1791622803120, 35.04),
    "1791624040250-0c7f3a52-6d0b-4a0e-9c55-7be1a2f4d601-8020.jpeg": (1791624000250, 40.0),
    "1791625056000-d2b4e6f8-1357-4246-8a9b-0c1d2e3f4a5b-8031.jpeg": (1791625000000, 56.0),
}
"""Names of results' files, with the create_time (ms) of their jobs and the seconds that these took by AKOOL's clock."""
